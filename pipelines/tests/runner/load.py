"""Loads pipeline definitions with the real kfp package and prints one line per file."""

import sys

from kfp import components

for path in sys.argv[1:]:
    try:
        loaded = components.load_component_from_file(path)
    except Exception as error:  # whatever kfp raises, it has refused the file
        print("refused", type(error).__name__, " ".join(str(error).split()))
        continue
    spec = loaded.pipeline_spec
    executors = loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors
    tasks = " ".join(sorted(spec.root.dag.tasks))
    print(f"loaded {spec.pipeline_info.name}: {tasks}; {len(executors)} executors with platform settings")
