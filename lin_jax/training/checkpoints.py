"""Checkpoints: the only file that knows Orbax.

One checkpoint holds the state, the position in the data and the progress of the loop, and appears
under its final name only when all of it is on disk: a run killed at any moment resumes from the
latest complete one. The latest and the best are kept. What is restored is what was saved, by
checksums of the arrays, the position and the progress; and one process at a time has a folder.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from lin_jax import checksums, durable, locks
from lin_jax.errors import CheckpointError

# Orbax logs what it then raises, and what here is one line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Checkpoints:
    """The checkpoints of a run; close it, or use it as a context, to wait for the last one.

    Args:
        directory: holds one folder a checkpoint, named by its step; made if need be.

    Raises:
        CheckpointError: another process has it.
    """

    def __init__(self, directory):
        from grain.checkpoint import CheckpointHandler

        self.directory = pathlib.Path(directory).absolute()
        self._lock = contextlib.ExitStack()
        if jax.process_index() == 0:  # of those that train together, one stands for all
            self._lock.enter_context(locks.hold(self.directory, CheckpointError))
        self._keep = _LatestAndBest()
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._keep,
                cleanup_tmp_directories=True,
                # Before it gets its name, and an older one is deleted.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._sync),
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "position": CheckpointHandler(),
                "progress": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the latest complete checkpoint, or None."""
        return self._manager.latest_step()

    def path(self, step: int) -> pathlib.Path:
        """Folder of a checkpoint."""
        return self.directory / str(step)

    def save(self, step: int, state, position: dict, progress: dict, best_step: int):
        """Save in the background; training goes on once the state is copied to the host.

        Args:
            step: number of updates made.
            state: pytree of arrays.
            position: of this process in the training data, from the loader; plain values.
            progress: of the loop; plain values.
            best_step: of the best checkpoint so far, which is kept.

        Raises:
            CheckpointError: this or the previous checkpoint could not be written.
        """
        from grain.checkpoint import CheckpointSave

        self._keep.best_step = best_step
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            position=CheckpointSave(_Position(position)),
            progress=ocp.args.JsonSave(
                checksums.signed({"progress": progress, "state_sha256": _digest(state)})
            ),
        )
        size, free = (
            sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
            shutil.disk_usage(self.directory).free,
        )
        try:
            if free < size:  # asked first, since Orbax leaves a half and much noise behind
                raise OSError(f"{size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")
            self._manager.save(step, args=items, force=True)
        except Exception as error:
            raise self._unwritten(error) from error

    def restore(self, target, step: int | None = None):
        """Read a checkpoint back.

        Args:
            target: pytree like the saved state, of `jax.ShapeDtypeStruct` with shardings.
            step: which one; None is the latest.

        Returns:
            (state, position, progress) as given to `save`.

        Raises:
            CheckpointError: there is none, it is broken, or it is of another model.
        """
        from grain.checkpoint import CheckpointRestore

        step = self.latest_step if step is None else step
        if step is None or not self.path(step).is_dir():
            raise CheckpointError(
                f"no checkpoint in {self.directory}: train first, or correct the folder"
            )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(target),
            position=CheckpointRestore(_Position()),
            progress=ocp.args.JsonRestore(),
        )
        try:
            saved = self._manager.item_metadata(step)["state"]
            if saved is None:
                raise ValueError("its state is missing")
            _check_same_arrays(saved, target, self.path(step))
            restored = self._manager.restore(step, args=items)
            saved = checksums.verified(restored["progress"])
            if _digest(restored["state"]) != saved["state_sha256"]:
                raise ValueError("its arrays do not fit their checksum")
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"checkpoint {self.path(step)} is broken ({_first_line(error)}): remove it to use "
                "the one before"
            ) from error
        return restored["state"], restored["position"].value, saved["progress"]

    def wait(self):
        """Wait until everything is on disk; CheckpointError if it cannot be written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritten(error) from error

    def close(self):
        """Wait likewise, and end the threads that write."""
        try:
            self.wait()
        finally:
            self._manager.close()
            self._lock.close()

    def _sync(self):
        """Bring what is to become a checkpoint to the disk."""
        if jax.process_index() == 0:
            for part in self.directory.glob("*.orbax-checkpoint-tmp"):
                durable.sync(part)

    def _unwritten(self, error):
        return CheckpointError(
            f"cannot write to {self.directory} ({_first_line(error)}): free some space or choose "
            "another workdir"
        )


class _LatestAndBest(PreservationPolicy):
    best_step: int | None = None

    def should_preserve(self, checkpoints, *, context):
        del context
        return [c is checkpoints[-1] or c.step == self.best_step for c in checkpoints]


class _Position:
    """Plain values in the form in which Grain's handler saves an iterator: one file a process."""

    def __init__(self, value=None):
        self.value = value

    def get_state(self):
        return json.dumps(checksums.signed({"position": self.value})).encode()

    def set_state(self, state):
        self.value = checksums.verified(json.loads(state))["position"]

    def start_prefetch(self):
        pass


def _check_same_arrays(saved, target, folder):
    """Name the first array that differs, which Orbax would only do in pages."""
    saved, target = _shapes(saved), _shapes(target)
    for path in sorted(saved.keys() | target.keys()):
        if saved.get(path) != target.get(path):
            raise CheckpointError(
                f"checkpoint {folder} is of another model ({path} is {saved.get(path, 'absent')} "
                "in it, "
                f"{target.get(path, 'absent')} here): use another workdir or the configuration it "
                "was made with"
            )


def _shapes(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def _digest(state) -> str:
    """SHA-256 of the arrays of a pytree, by their paths, however they are split over devices."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _first_line(error):
    return str(error).strip().split("\n")[0]
