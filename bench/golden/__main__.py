from bench.golden.run import main

raise SystemExit(main())
