from bench.backbone.run import main

raise SystemExit(main())
