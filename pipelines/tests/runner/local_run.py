"""Runs a pipeline definition with kfp's own local runner.

    local_run.py DEFINITION PIPELINE_ROOT DATA

That runner takes Python components only, so three things of the cluster's launcher are put in its place here: it runs
commands of container components, it makes the folders for outputs, and it passes on every output that was declared.
"""

import os
import sys

from kfp import components, local
from kfp.local import executor_output_utils
from kfp.local.subprocess_task_handler import SubprocessTaskHandler

definition, root, data = sys.argv[1:]
run = SubprocessTaskHandler.run
get_outputs = executor_output_utils.get_outputs_from_executor_output


def run_with_folders(self):
    for word in self.full_command:
        if word.startswith(root):
            os.makedirs(os.path.dirname(word), exist_ok=True)
    return run(self)


def pass_on_declared(executor_output, executor_input, component_spec):
    for name, artifacts in executor_input.outputs.artifacts.items():
        executor_output.artifacts[name].CopyFrom(artifacts)
    return get_outputs(executor_output=executor_output, executor_input=executor_input, component_spec=component_spec)


SubprocessTaskHandler.validate_not_container_component = lambda self, full_command: None
SubprocessTaskHandler.run = run_with_folders
executor_output_utils.get_outputs_from_executor_output = pass_on_declared
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=root)
components.load_component_from_file(definition)(data=data)
