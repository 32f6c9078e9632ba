// The journal's queue from many threads at once, and what appends it to a socket.
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "journal_queue.h"
#include "stream_append.h"

namespace rowbank {
namespace {

constexpr std::uint8_t kPush = 1;
constexpr double kLongS = 600;

JournalLimits no_limits() {
  return {std::size_t{1} << 30, std::size_t{1} << 30, std::size_t{1} << 30, kLongS};
}

// Reads whole commands of XADD from a socket and answers each with its id; what it got, in order.
std::string serve(int socket, int commands) {
  std::string got;
  std::string left;
  char part[1 << 12];
  while (commands > 0) {
    const ssize_t size = ::recv(socket, part, sizeof part, 0);
    if (size <= 0) break;
    left.append(part, static_cast<std::size_t>(size));
    // The last argument of each command here ends in "end\r\n".
    for (std::size_t end = left.find("end\r\n"); end != std::string::npos; end = left.find("end\r\n")) {
      got += left.substr(0, end + 5);
      left.erase(0, end + 5);
      --commands;
      const std::string answer = "$3\r\n1-0\r\n";
      (void)!::write(socket, answer.data(), answer.size());
    }
  }
  return got;
}

TEST(journal, many_threads_take_positions_and_each_mutation_is_done_once) {
  DedupWindow window(1 << 16, 8);
  JournalQueue queue(&window, no_limits());
  queue.reopened(100);
  queue.keep_records(true);
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::thread appends([&] {
    for (JournalGroup group = queue.take_group(); !group.entries.empty(); group = queue.take_group()) {
      CHECK(queue.landed(group, queue.stream()));
    }
  });
  std::atomic<std::uint64_t> released{0};
  std::thread follows([&] {
    std::uint64_t last = 100;
    while (released < kThreads * kEach) {
      for (const Released& one : queue.take_released().first) {
        CHECK(one.position > last);
        last = one.position;
        ++released;
      }
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      for (int sequence = 1; sequence <= kEach; ++sequence) {
        Entered entered = window.enter("c" + std::to_string(number), sequence, kPush);
        CHECK(entered.known == Known::kNew);
        const bool relaxed = sequence % 5 == 0;
        const JournalQueue::Entry entry = queue.begin(false, !relaxed);
        const auto body = std::make_shared<std::string>("body");
        queue.submit(entry, "head", {body->data(), body->size(), body, false}, "answer", entered.under_way);
        queue.applied(entry, 1e-6);
        CHECK(queue.wait(entry, kLongS));
        CHECK(window.done(*entered.under_way));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  follows.join();
  queue.stop();
  appends.join();
  CHECK_EQ(queue.last_position(), std::uint64_t{100 + kThreads * kEach});
  CHECK_EQ(queue.done_through(), queue.last_position());
  CHECK_EQ(queue.released_through(), queue.last_position());
  CHECK_EQ(queue.stored().records, std::uint64_t{kThreads * kEach * 4 / 5});
  CHECK_EQ(queue.pending_bytes(), std::size_t{0});
}

TEST(journal, a_fence_lets_everybody_go) {
  DedupWindow window(8, 8);
  JournalQueue queue(&window, no_limits());
  std::vector<std::thread> threads;
  std::atomic<int> let_go{0};
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&] {
      for (bool done = true; done;) {
        const JournalQueue::Entry entry = queue.begin(false, true);
        queue.submit(entry, "head", {}, "", nullptr);
        queue.applied(entry, 0);
        done = queue.wait(entry, kLongS);
      }
      ++let_go;
    });
  }
  for (int groups = 0; groups < 50; ++groups) queue.landed(queue.take_group(), queue.stream());
  queue.fence();
  for (int tries = 0; let_go < 4; ++tries) {
    queue.fence();  // Those that began after the last one.
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(queue.take_group().entries.empty());
}

TEST(journal, records_of_any_size_go_through_a_socket) {
  const unsigned seed = 7;
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  DedupWindow window(8, 8);
  JournalQueue queue(&window, no_limits());
  int ends[2];
  CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  StreamAppender appender(ends[0], "key", kLongS);
  for (int round = 0; round < 20; ++round) {
    std::string wanted;
    const std::size_t records = round == 0 ? 700 : 1 + random() % 4;  // More pieces than one call of the system takes.
    for (std::size_t place = 0; place < records; ++place) {
      const std::size_t size = records > 9 ? random() % 9 : random() % (std::size_t{1} << 20);
      auto body = std::make_shared<std::string>(size, 'x');
      if (place + 1 == records) *body += "end";
      const JournalQueue::Entry entry = queue.begin(false, true);
      queue.submit(entry, "h", {body->data(), body->size(), body, false}, "", nullptr);
      queue.applied(entry, 0);
      wanted += "$" + std::to_string(std::to_string(place).size()) + "\r\n" + std::to_string(place) + "\r\n$" +
                std::to_string(body->size() + 1) + "\r\nh" + *body + "\r\n";
    }
    std::string got;
    std::thread redis([&] { got = serve(ends[1], 1); });
    const JournalGroup group = queue.take_group();
    CHECK_EQ(group.entries.size(), records);
    CHECK(appender.append(group) == Appended::kYes);
    redis.join();
    CHECK(got.size() > wanted.size() && got.substr(got.size() - wanted.size()) == wanted);
    CHECK(queue.landed(group, queue.stream()));
  }
  ::close(ends[1]);
  const JournalQueue::Entry entry = queue.begin(false, true);
  queue.submit(entry, "h", {}, "", nullptr);
  CHECK(appender.append(queue.take_group()) == Appended::kUnknown);
  ::close(ends[0]);
}

}  // namespace
}  // namespace rowbank
