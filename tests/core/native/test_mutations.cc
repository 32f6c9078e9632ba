// The window of ids, the gate and the steps, by themselves and from many threads.
#include <atomic>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "dedup_window.h"
#include "mutation_gate.h"
#include "step_counter.h"

namespace rowbank {
namespace {

constexpr std::uint8_t kPush = 1;

// What the window knows; a new one is answered with `answer`.
Known apply(DedupWindow& window, const std::string& client, std::uint64_t sequence, const std::string& answer) {
  const Entered entered = window.enter(client, sequence, kPush);
  if (entered.known == Known::kNew) window.complete(*entered.under_way, answer);
  return entered.known;
}

TEST(mutations, answers_are_remembered_packed_and_restored) {
  DedupWindow window(3, 2);
  for (std::uint64_t sequence = 1; sequence <= 5; ++sequence) {
    CHECK(apply(window, "c", sequence, "answer " + std::to_string(sequence)) == Known::kNew);
  }
  CHECK(apply(window, "c", 2, "") == Known::kTooOld);
  CHECK(window.enter("c", 5, kPush + 1).known == Known::kOtherKind);
  const WindowChanges changes = window.take_changes();
  CHECK_EQ(changes.windows.size(), std::size_t{1});
  CHECK(window.take_changes().windows.empty());
  DedupWindow again(3, 2);
  const std::string packed = changes.windows[0].second;
  CHECK(again.restore("c", packed));
  CHECK(again.enter("c", 4, kPush).answer == "answer 4");
  for (std::size_t cut = 0; cut < packed.size(); ++cut) {
    CHECK(!again.restore("c", packed.substr(0, cut)));
    std::string damaged = packed;
    damaged[cut] = static_cast<char>(damaged[cut] ^ 1);
    CHECK(!again.merge("c", damaged));
  }
  CHECK(again.merge("c", packed));
  CHECK(again.packed("c") == packed);
}

TEST(mutations, clients_with_something_under_way_are_not_forgotten) {
  DedupWindow window(3, 2);
  const Entered held = window.enter("a", 1, kPush);
  for (const char* client : {"b", "c", "d"}) apply(window, client, 1, "");
  CHECK(window.enter("a", 1, kPush).known == Known::kUnderWay);
  CHECK(!window.packed("b") && !window.packed("c"));
  CHECK(!window.wait(*held.under_way, 0));
  window.fail(*held.under_way);
  CHECK(window.wait(*held.under_way, 0));
}

TEST(mutations, each_is_applied_once_by_many_threads) {
  constexpr std::uint64_t kSequences = 2000;
  DedupWindow window(64, 4);
  std::atomic<std::uint64_t> applied{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(static_cast<std::uint64_t>(thread));
      for (std::uint64_t sequence = 1; sequence <= kSequences; ++sequence) {
        for (;;) {
          const Entered entered = window.enter("c", sequence, kPush);
          if (entered.known == Known::kUnderWay) {
            window.wait(*entered.under_way, 30);
            continue;
          }
          if (entered.known == Known::kNew && random() % 4 == 0) {
            window.fail(*entered.under_way);
            continue;
          }
          if (entered.known == Known::kNew) {
            applied.fetch_add(1);
            window.complete(*entered.under_way, std::to_string(sequence));
          } else if (entered.known == Known::kAnswered) {
            CHECK(entered.answer == std::to_string(sequence));
          }
          break;
        }
        if (random() % 64 == 0) window.take_changes();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(applied.load(), kSequences);
}

TEST(mutations, nobody_is_inside_a_closed_gate) {
  MutationGate gate;
  std::atomic<int> inside{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      while (!done) {
        if (thread == 0) {
          gate.enter();
          gate.note_unfollowed();
        } else if (!gate.try_enter_unfollowed()) {
          std::this_thread::yield();
          continue;
        }
        ++inside;
        --inside;
        gate.leave();
      }
    });
  }
  for (int round = 0; round < 200; ++round) {
    CHECK(gate.close(30));
    CHECK_EQ(inside.load(), 0);
    CHECK(!gate.try_enter() && !gate.try_enter_unfollowed());
    CHECK(gate.open());
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(!gate.open());
}

TEST(mutations, a_gate_that_was_closed_asks_again_whether_somebody_follows) {
  MutationGate gate;
  CHECK(!gate.try_enter_unfollowed());
  gate.enter();
  gate.note_unfollowed();
  CHECK(!gate.close(0));  // Somebody is inside.
  CHECK(!gate.try_enter_unfollowed());
  gate.note_unfollowed();
  CHECK(gate.try_enter_unfollowed());
  gate.leave();
  gate.leave();
  CHECK(gate.close(0));
  gate.open();
  CHECK(!gate.try_enter_unfollowed());
}

TEST(mutations, steps_rise) {
  StepCounter steps(5);
  CHECK_EQ(steps.next(0), std::uint64_t{6});
  CHECK_EQ(steps.next(3), std::uint64_t{3});
  CHECK_EQ(steps.next(9), std::uint64_t{9});
  steps.raise(7);
  CHECK_EQ(steps.next(0), std::uint64_t{10});
  constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
  CHECK_EQ(steps.next(kLast), kLast);
  bool refused = false;
  try {
    steps.next(0);
  } catch (const std::overflow_error&) {
    refused = true;
  }
  CHECK(refused);
  CHECK_EQ(steps.next(1), std::uint64_t{1});
}

}  // namespace
}  // namespace rowbank
