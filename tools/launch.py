#!/usr/bin/env python
"""torchrun, which a signal ends as it ends the training: in its own time, with its exit status.

torchrun itself gives the processes 30 s after a signal, starts them again where a signal to
another machine has ended them, and leaves with a traceback and status 1. Takes its arguments.
"""

import logging
import signal
import sys
import time
from types import FrameType

from torch.distributed import run
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api

# Exit statuses of a training that a signal has stopped; with another one it has failed.
TRY_AGAIN = 75  # after SIGUSR1
STOPPED = {TRY_AGAIN, 129, 130, 143}
# Of a mistake of the user, which the training has worded.
MISTAKE = 2
PASSED_ON = [getattr(signal, f'SIG{name}', None) for name in ('INT', 'TERM', 'HUP', 'USR1')]
PASSED_ON = [number for number in PASSED_ON if number is not None]
# Seconds that the processes have to end in after a second signal.
PATIENCE = 5
# What torchrun logs of all this.
LOGGED = ('failed (exitcode', 'Sending process', 'Closing process', 'Received %s death signal')


class Agent(LocalElasticAgent):
    """torchrun's agent, which leaves a training the time to stop, and stopped."""

    # Exit statuses after a signal.
    ended: tuple[int, ...] = ()

    def _start_workers(self, worker_group):
        started = super()._start_workers(worker_group)
        listen()  # torchrun has set handlers of its own
        return started

    def _monitor_workers(self, worker_group):
        result = super()._monitor_workers(worker_group)
        failures = {rank: each.exitcode for rank, each in result.failures.items()}
        if failures and STOPPED.issuperset(failures.values()):
            self._remaining_restarts = 0
        elif failures and self._remaining_restarts:
            say(failures, f'; all are started again, up to {self._remaining_restarts} times')
        return result

    def _shutdown(self, death_sig=signal.SIGTERM, *args, **options):
        context = self._pcontext
        processes = [each.proc for each in context.subprocess_handlers.values()] if context else []
        received = []

        def pass_on(number: int, frame: FrameType | None = None) -> None:
            received.append(time.monotonic())
            for process in processes:
                process.send_signal(number)  # which lets those be that have ended

        before = {number: signal.signal(number, pass_on) for number in PASSED_ON[:2]}
        pass_on(death_sig)
        while any(process.poll() is None for process in processes):
            if len(received) > 1 and time.monotonic() - received[1] > PATIENCE:
                for process in processes:
                    process.kill()
            time.sleep(0.05)
        for number, handler in before.items():
            signal.signal(number, handler)
        Agent.ended = tuple(process.returncode for process in processes)
        super()._shutdown(death_sig, *args, **options)


def listen() -> None:
    """Have every signal end what the agent is at; those stay ignored that are (nohup)."""
    for number in PASSED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Break off what the agent is at."""
    raise SignalException(f'got signal {number}', sigval=signal.Signals(number))


def say(failures: dict[int, int], more: str = '') -> None:
    """Name the processes that failed; those that have said why themselves are left out."""
    # One that was killed takes the others with it, and the agent ends those that are left.
    killed = {code for code in failures.values() if code < 0} - {-signal.SIGTERM}
    quiet = STOPPED | {MISTAKE} | ({1, -signal.SIGTERM} if killed else set())
    for rank, code in failures.items():
        how = f'was killed by {signal.Signals(-code).name}' if code < 0 else f'has status {code}'
        if code not in quiet:
            print(f'process {rank} {how}{more}', file=sys.stderr, flush=True)


def main() -> int:
    """Run the command line; return the exit status."""
    for module in ('agent.server.api', 'multiprocessing.api'):
        logger = logging.getLogger(f'torch.distributed.elastic.{module}')
        logger.addFilter(lambda record: not str(record.msg).startswith(LOGGED))
    api.LocalElasticAgent = Agent
    listen()
    try:
        run.run(run.parse_args(sys.argv[1:]))
        return 0
    except SignalException as error:
        codes = set(Agent.ended)
        own = TRY_AGAIN if error.sigval.name == 'SIGUSR1' else 128 + error.sigval
        return max(STOPPED & codes, default=0 if codes == {0} else own)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        say(codes)
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code


if __name__ == '__main__':
    sys.exit(main())
