from bench.characters.run import main

raise SystemExit(main())
