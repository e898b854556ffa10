"""Stop signals: the first one asks, the second one raises; nobody's own handler is touched."""

import signal
import threading

import pytest

from thresher.stop_signals import Termination, stopping_between_steps, termination

BOTH = (signal.SIGINT, signal.SIGTERM)
pytestmark = pytest.mark.usefixtures("plain_signals")


def installed():
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_the_first_signal_asks_and_the_second_raises(first, second):
    """Of either kind; whether one of them was SIGTERM is remembered."""
    asked = []
    with termination() as terminated:
        with stopping_between_steps(lambda: asked.append(True)):
            signal.raise_signal(first)
            assert asked == [True]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(second)
        assert asked == [True]
    assert terminated.received == (signal.SIGTERM in (first, second))
    assert installed() == [signal.default_int_handler, signal.SIG_DFL]


def test_sigterm_outside_of_training_raises():
    """While the data are read there is nothing to save."""
    with termination() as terminated, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert terminated.received


def test_sigterm_is_left_alone_where_no_command_asked_for_it():
    """A library does not take it from the program."""
    with stopping_between_steps(lambda: None):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda number, frame: None])
def test_handlers_of_the_program_stay(own):
    """A shell lets what it starts in the background ignore Ctrl+C; SIGTERM works all the same."""
    signal.signal(signal.SIGINT, own)
    asked = []
    with termination() as terminated, stopping_between_steps(lambda: asked.append(True)):
        assert signal.getsignal(signal.SIGINT) == own
        signal.raise_signal(signal.SIGINT)
        assert not asked
        signal.raise_signal(signal.SIGTERM)
    assert asked
    assert terminated.received
    assert signal.getsignal(signal.SIGINT) == own
    signal.signal(signal.SIGTERM, own)
    with termination():
        assert signal.getsignal(signal.SIGTERM) == own


def test_handlers_belong_to_the_main_thread():
    """In another one Python lets nobody install any."""
    before, seen = installed(), []

    def work():
        with termination() as terminated, stopping_between_steps(lambda: None):
            seen.append((installed(), isinstance(terminated, Termination)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, True)]
