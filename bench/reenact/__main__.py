from bench.reenact.run import main

raise SystemExit(main())
