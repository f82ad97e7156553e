"""Asks an mrjob script what it would run, and writes the answer as JSON.

Run as `python describe.py DIRECTORY TASK PYTHON SCRIPT [ARGUMENT...]` by the Python
that has mrjob. The script runs as it would when it is typed, up to the point where it
would start its job: from there on a runner of ours stands in, which runs nothing
and says everything: DIRECTORY/job.json. TASK is the path of `task.py`, for steps
whose commands need something to be done before they start; PYTHON is what tasks
run with, empty for the Python that this is.

What is used of mrjob 0.7.4: `MRJob.run_job` as the point where a job starts, and
`MRJobBinRunner` for what commands a step has, which files go with it under which
names, and what the `setup` option makes of a command.
"""
import json
import logging
import os
import runpy
import site
import sys
import traceback

DESCRIBED = "job.json"


def main():
    directory, task, python, script = sys.argv[1:5]
    sys.argv = [script] + sys.argv[5:]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    report = os.path.join(directory, DESCRIBED)
    try:
        import mrjob
        from mrjob import job as mrjob_job
        runner_class = define_runner(directory, task, python or sys.executable)
    except ImportError as error:
        return answer(report, failure("mrjob", "%s" % error))

    def describe(self):
        try:
            found = description(self, runner_class)
        except (NotImplementedError, OSError, ValueError, TypeError) as error:
            found = failure("refused", str(error))
        except Exception:
            found = failure("script", traceback.format_exc())
        found["mrjob"] = mrjob.__version__
        answer(report, found)
        raise SystemExit(0)

    mrjob_job.MRJob.run_job = describe
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code in (None, 0):
            # Help, or the description.
            return 0
        return answer(report, failure("arguments", "%s" % end.code))
    except BaseException:
        return answer(report, failure("script", without_us(sys.exc_info())))
    return answer(report, failure("no-job", ""))


def answer(path, what):
    if not os.path.exists(path):
        with open(path, "w") as out:
            json.dump(what, out)
    return 0


def failure(kind, message):
    return {"error": {"kind": kind, "message": message}}


def without_us(problem):
    """A traceback that begins in the script."""
    kind, value, trace = problem
    frames = traceback.extract_tb(trace)
    own = [n for n, frame in enumerate(frames)
           if "runpy" not in frame[0] and frame[0] != __file__]
    lines = ["Traceback (most recent call last):\n"] if own else []
    lines += traceback.format_list(frames[own[0]:]) if own else []
    return "".join(lines + traceback.format_exception_only(kind, value))


def define_runner(directory, task, python):
    from mrjob.bin import MRJobBinRunner

    class VivatRunner(MRJobBinRunner):
        """Knows all about a job, and does not run it."""
        # Its section in mrjob.conf.
        alias = "vivat"
        _STEP_TYPES = {"streaming"}

        def _get_local_tmp_dir(self):
            return directory

        def _default_python_bin(self, local=False):
            return [python]

        def _bootstrap_mrjob(self):
            # mrjob is taken to be where the tasks run unless asked otherwise.
            return bool(self._opts["bootstrap_mrjob"])

        def _script_args_for_step(self, step_num, mrc, input_manifest=False):
            # A step that reads whole files is told where they are by `exec`.
            return super(VivatRunner, self)._script_args_for_step(step_num, mrc)

        def _uses_input_manifest(self):
            return False

        def archives(self):
            manager = self._working_dir_mgr
            named = manager.name_to_path("archive").items()
            return [(manager.name("archive_file", path), name, path)
                    for name, path in sorted(named)]

        def commands(self, number):
            """The commands of a step, by their part in it."""
            step = self._get_step(number)
            before = []
            for file, name, _ in self.archives():
                before += ["--archive", file, name]
            found = {}
            for part in ("mapper", "combiner", "reducer"):
                if part not in step:
                    continue
                command = list(self._substep_args(number, part))
                raw = part == "mapper" and step.get("input_manifest")
                if before or raw:
                    self._working_dir_mgr.add("file", task)
                    name = self._working_dir_mgr.name("file", task)
                    own = self._task_python_bin() + [name] + before
                    command = own + (["--raw"] if raw else []) + ["--"] + command
                found[part] = command
            return found

        def described(self):
            self._create_dir_archives()
            self._create_setup_wrapper_scripts()
            steps = []
            for number in range(self._num_steps()):
                step = self.commands(number)
                step["raw"] = bool(self._get_step(number).get("input_manifest"))
                step["jobconf"] = {
                    key: str(value)
                    for key, value in self._jobconf_for_step(number).items()}
                steps.append(step)
            files = dict(self._working_dir_mgr.name_to_path("file"))
            files.update((file, path) for file, _, path in self.archives())
            return {
                "steps": steps,
                "files": {name: absolute(path) for name, path in files.items()},
                "environment": {
                    key: str(value) for key, value in self._cmdenv().items()},
            }

    return VivatRunner


def absolute(path):
    if path.startswith("file:///"):
        return path[len("file://"):]
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def description(job, runner_class):
    from mrjob.conf import combine_dicts
    from mrjob.options import _RUNNER_OPTS

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("mrjob.conf").addFilter(
        lambda record: "No configs specified" not in record.getMessage())
    runner = runner_class(**combine_dicts(
        job._non_option_kwargs(),
        job._kwargs_from_switches(set(_RUNNER_OPTS)),
        job._job_kwargs(),
        {"steps": job._steps_desc()},
    ))
    if not runner._num_steps():
        raise ValueError("the job has no steps")
    found = runner.described()
    found.update({
        "name": type(job).__name__,
        "inputs": list(job.options.args),
        "sort_values": bool(job.sort_values()),
        "partitioner": job.partitioner(),
        "input_format": job.hadoop_input_format(),
        "output_format": job.hadoop_output_format(),
        "output": job.options.output_dir,
        "user_base": site.getuserbase(),
    })
    return found


if __name__ == "__main__":
    sys.exit(main())
