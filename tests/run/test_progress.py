"""The progress bar: what a terminal sees, and the lines that everything else sees."""

import io

from fxptrain.run.progress import DownloadBar, Position, Progress, ProgressBar, epoch_line


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Pretend."""
        return True


def show(file: io.StringIO) -> str:
    """Two steps and the end of an epoch, as training reports them."""
    bar = ProgressBar(file)
    for samples in (16, 32):
        bar(Progress(Position(epoch=1, samples=samples, loss_sum=samples << 15, correct=samples // 2), 3, 32))
    bar(Progress(Position(epoch=2), 3, 32, {"epoch": 2, "loss": 0.5, "accuracy": 0.5, "lr": 0.01}))
    bar.close()
    return file.getvalue()


def test_on_a_terminal() -> None:
    """Epoch, share of the whole run, loss, accuracy, and a line that stays for the epoch."""
    shown = show(Terminal())
    assert "epoch 2/3:" in shown
    assert "/96.0" in shown
    assert "images/s" in shown
    assert "loss 0.5000, accuracy 50.00%" in shown
    assert "epoch 2/3: loss 0.5000, accuracy 50.00%, lr 0.01\n" in shown


def test_elsewhere() -> None:
    """A file or a pipe gets a line per epoch and nothing else."""
    assert show(io.StringIO()) == "epoch 2/3: loss 0.5000, accuracy 50.00%, lr 0.01\n"


def test_closing_unused() -> None:
    """A bar that was never shown can be closed."""
    ProgressBar(Terminal()).close()


def test_downloads() -> None:
    """A bar per file on a terminal, nothing elsewhere."""
    for file in (Terminal(), io.StringIO()):
        bar = DownloadBar(file)
        for name in ("images.gz", "labels.gz"):
            for done in (0, 512, 1000):
                bar(name, done, 1000)
        bar.close()
        shown = file.getvalue()
        assert ("images.gz: 100%" in shown and "labels.gz: 100%" in shown) == file.isatty()
        assert file.isatty() or not shown


def test_speed() -> None:
    """Images a second come from the timed steps; without any there is none."""
    assert Position().images_per_second is None
    assert Position(timed_samples=3, timed_nanoseconds=2_000_000_000).images_per_second == 1.5


def test_epoch_line_with_everything() -> None:
    """Validation and speed are shown where they exist."""
    record = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "validation_accuracy": 0.25, "lr": 0.5}
    assert epoch_line(record | {"images_per_second": 1e4}, 2) == (
        "epoch 1/2: loss 1.0000, accuracy 50.00%, validation 25.00%, lr 0.5, 10,000 images/s"
    )
