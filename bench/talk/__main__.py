from bench.talk.run import main

raise SystemExit(main())
