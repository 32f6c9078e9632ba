"""In which order flows get their turns, by hand."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from rowbank_server.fairness import FairQueue, Flow


def always(flow, item):
    return True


def taken(queue: FairQueue[int], may_go=always) -> tuple[Flow, int]:
    found = queue.next(may_go)
    assert found is not None
    return found


def served(queue: FairQueue[int], turns: int, *, cost: float = 1.0) -> list[Flow]:
    """The flows of as many turns, each of which has more work at once."""
    order = []
    for number in range(turns):
        flow, _ = taken(queue)
        charged = queue.begin(flow)
        queue.enter(flow)
        queue.wait(flow, number)
        queue.end(flow, charged, cost)
        order.append(flow)
    return order


def line(weights: dict[str, float], *flows: Flow, each: int = 1) -> FairQueue[int]:
    queue: FairQueue[int] = FairQueue(weights)
    for flow in flows:
        for number in range(each):
            queue.enter(flow)
            queue.wait(flow, number)
    return queue


def test_callers_of_one_table_take_turns_however_many_requests_each_has():
    many, few = Flow("many", ("t",)), Flow("few", ("t",))
    queue = line({}, many, each=50)
    queue.enter(few)
    queue.wait(few, 0)
    counts = Counter(served(queue, 40))
    assert abs(counts[many] - counts[few]) <= 1


def test_tables_of_one_caller_take_turns_by_weight():
    user, item = Flow("c", ("user",)), Flow("c", ("item",))
    counts = Counter(served(line({"user": 4.0}, user, item, each=3), 50))
    assert counts[user] == 40
    assert counts[item] == 10


def test_weights_count_between_callers_too():
    user, item = Flow("a", ("user",)), Flow("b", ("item",))
    counts = Counter(served(line({"user": 4.0}, user, item, each=3), 50))
    assert counts[user] == 40
    assert counts[item] == 10


def test_who_was_away_comes_next_and_has_saved_nothing_up():
    flood, quiet = Flow("flood", ("f",)), Flow("quiet", ("q",))
    queue = line({}, flood, each=3)
    served(queue, 100)
    queue.enter(quiet)
    queue.wait(quiet, 0)
    order = served(queue, 20)
    assert order[0] == quiet or order[1] == quiet
    assert 9 <= Counter(order)[quiet] <= 11  # Half, and not all twenty for the hundred that it left to others.


def test_a_caller_with_many_tables_gets_at_most_twice_the_share_of_one_with_a_single_table():
    flows = [Flow("many", (f"t{number}",)) for number in range(50)]
    single = Flow("one", ("x",))
    counts = Counter(flow.caller for flow in served(line({}, *flows, single), 300))
    assert counts["many"] <= 2.1 * counts["one"]


def test_expensive_requests_count_for_more():
    dear, cheap = Flow("dear", ("d",)), Flow("cheap", ("c",))
    queue = line({}, dear, cheap, each=2)
    counts: Counter[Flow] = Counter()
    for number in range(110):
        flow, _ = taken(queue)
        charged = queue.begin(flow)
        queue.enter(flow)
        queue.wait(flow, number)
        queue.end(flow, charged, 10.0 if flow == dear else 1.0)
        counts[flow] += 1
    assert 9 <= counts[cheap] / counts[dear] <= 11


def test_a_request_for_several_tables_is_held_up_by_the_one_that_had_most():
    both, one = Flow("c", ("a", "b")), Flow("c", ("b",))
    queue = line({}, Flow("c", ("a",)), each=2)
    served(queue, 10)
    for flow in (both, one):
        queue.enter(flow)
        queue.wait(flow, 0)
    order = served(queue, 12)
    assert order.index(one) < order.index(both)


def test_who_may_not_go_is_passed_by_and_keeps_its_place():
    first, second = Flow("a", ("t",)), Flow("b", ("t",))
    queue = line({}, first, second)
    flow, _ = taken(queue, lambda flow, item: flow.caller != "a")
    assert flow == second
    assert queue.next(lambda flow, item: flow.caller != "a") is None
    assert queue.next(always) == (first, 0)
    assert len(queue) == 0


def test_without_a_condition_everybody_may_go():
    alike = [line({}, Flow("a", ()), Flow("b", ("t",)), Flow("c", ()), each=3) for _ in range(2)]
    for _ in range(9):
        found = alike[0].next()
        assert found is not None
        assert found == taken(alike[1])
        for queue in alike:
            queue.begin(found[0])
    assert alike[0].next() is None


@pytest.mark.parametrize("kinds", [((),), ((), ("t",)), ((), ("t",), ("t", "u"))])
def test_the_shorter_way_without_a_condition_finds_whom_looking_at_all_finds(kinds):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    queues = [FairQueue[int]({"u": 2.0}), FairQueue[int]({"u": 2.0})]
    flows = [Flow(f"c{number}", tables) for number in range(30) for tables in kinds]
    working: list[tuple[Flow, list[float]]] = []
    waiting: dict[Flow, deque[int]] = {}

    def all_of(call):
        one, other = [call(queue) for queue in queues]
        assert one == other
        return one

    for number in range(20_000):
        done = chance.random()
        if done < 0.45:
            flow = chance.choice(flows[: chance.choice([2, len(flows)])])
            for queue in queues:
                queue.enter(flow)
                queue.wait(flow, number)
            waiting.setdefault(flow, deque()).append(number)
        elif done < 0.7:
            found = queues[0].next()
            assert found == queues[1].next(always)
            assert (found is None) == (not any(waiting.values()))
            if found is not None:
                flow, item = found
                assert waiting[flow].popleft() == item
                working.append((flow, [queue.begin(flow) for queue in queues]))
        elif done < 0.9 and working:
            flow, charged = working.pop(chance.randrange(len(working)))
            cost = chance.choice([0.0, 1.0, 1.0, 1.0, chance.random()])
            for queue, mine in zip(queues, charged, strict=True):
                queue.end(flow, mine, cost)
        elif len(queues[0]):
            flow = all_of(lambda queue: queue.longest())
            assert queues[0].waiting(flow) <= queues[0].at_most()
            if chance.random() < 0.5:
                assert all_of(lambda queue, flow=flow: queue.give_up_last(flow)) == waiting[flow].pop()
            else:
                item = waiting[flow][0]
                waiting[flow].popleft()
                all_of(lambda queue, flow=flow, item=item: queue.withdraw(flow, item))
        assert len(queues[0]) == len(queues[1]) == sum(map(len, waiting.values()))
    assert len(queues[0]._heap) <= 3 * len(flows) + 65


def test_the_most_that_one_flow_may_have_is_known_without_looking():
    queue: FairQueue[int] = FairQueue({})
    assert queue.at_most() == 0
    queue = line({}, *(Flow(f"c{number}", ()) for number in range(9)))
    assert queue.at_most() == queue.waiting(queue.longest()) == 1
    queue = line({}, Flow("a", ()), each=5)
    assert queue.at_most() == queue.waiting(queue.longest()) == 5
