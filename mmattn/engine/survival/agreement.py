"""Agreement of a run's processes on where to stop."""

import datetime

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size


class Agreement:
    """Tells all processes what one of them has heard, at the same iteration and without waiting.

    Each call sends this process's number off and returns the greatest that was sent at the call
    before, which has arrived meanwhile. The numbers go from CPU to CPU by gloo, beside whatever
    the devices are doing: nothing is synchronised with them. All processes make the calls at
    the same places, beginning with the constructor.
    """

    def __init__(self) -> None:
        self._group = None
        self._sent: tuple[torch.Tensor, dist.Work] | None = None
        if get_world_size() > 1:
            # A process may wait for another one that evaluates for hours.
            limit = datetime.timedelta(days=1)
            self._group = dist.new_group(backend='gloo', timeout=limit)

    def greatest(self, number: int) -> int:
        """The greatest number of all processes as of the call before; alone, the number itself."""
        if self._group is None:
            return number
        before, now = self._sent, torch.tensor([number])
        self._sent = now, dist.all_reduce(now, dist.ReduceOp.MAX, self._group, async_op=True)
        return self._arrived(before)

    def least(self, number: int) -> int:
        """The least number of all processes; this one waits for them."""
        if self._group is None:
            return number
        answer = torch.tensor([number])
        dist.all_reduce(answer, dist.ReduceOp.MIN, self._group)
        return int(answer)

    def close(self) -> int:
        """End: the greatest number of the last call."""
        before, self._sent = self._sent, None
        return self._arrived(before)

    @staticmethod
    def _arrived(sent: tuple[torch.Tensor, dist.Work] | None) -> int:
        if sent is None:
            return 0
        sent[1].wait()
        return int(sent[0])
