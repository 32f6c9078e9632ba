// Pushes without the interpreter by many threads at once, for the thread sanitizer: journaled and relaxed tables,
// repeats, followers, a gate and a door that close, and a journal whose Redis refuses, breaks off and loses the stream.
// Arithmetic is the judge: gradients of -1 under SGD(1.0) make a row the number of pushes that were answered.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "fast_pushes.h"
#include "stream_append.h"

namespace rowbank::wire {
namespace {

constexpr int kThreads = 4;
constexpr int kPushes = 400;
constexpr std::int64_t kKeys = 200;
constexpr std::uint8_t kKind = 1;

std::string counted(char tag, const std::string& bytes) {
  std::string out(1, tag);
  std::size_t size = bytes.size();
  for (; size > 0x7F; size >>= 7) out.push_back(static_cast<char>((size & 0x7F) | 0x80));
  out.push_back(static_cast<char>(size));
  return out + bytes;
}

template <typename Item>
std::string column(const std::vector<Item>& items) {
  return {reinterpret_cast<const char*>(items.data()), items.size() * sizeof(Item)};
}

std::string push_of(const std::vector<std::string>& tables, const std::vector<std::int64_t>& keys,
                    const std::string& client, std::uint64_t sequence) {
  std::string request;
  for (const std::string& name : tables) {
    request += counted('\x0a', counted('\x0a', name) + counted('\x12', column(keys)) +
                                   counted('\x1a', column(std::vector<float>(keys.size(), -1.0F))));
  }
  std::string id = counted('\x0a', client) + "\x10";
  for (; sequence > 0x7F; sequence >>= 7) id.push_back(static_cast<char>((sequence & 0x7F) | 0x80));
  id.push_back(static_cast<char>(sequence));
  return request + counted('\x1a', id);
}

std::shared_ptr<Call> call_of(const std::string& body) {
  auto call = std::make_shared<Call>();
  std::shared_ptr<char[]> room(new char[body.size()]);
  std::memcpy(room.get(), body.data(), body.size());
  call->body = {room.get(), room, false};
  call->body_bytes = body.size();
  return call;
}

RowTable counting_table(const char* name) {
  TableOptions options;
  options.name = name;
  options.dim = 1;
  options.bucket_count = 16;
  return RowTable(options, Initializer("zeros", 0, 0, 0), Optimizer("sgd", {{"learning_rate", 1.0}}));
}

// Says that a push whose journal does not answer is of unknown fate, and counts them.
struct Unknown : PushWaits {
  void before_wait() override { ++waits; }
  std::optional<Answer> unconfirmed(const Call&, const std::shared_ptr<JournalEntry>&) override {
    Answer answer;
    answer.status = 14;
    return answer;
  }
  std::atomic<int> waits{0};
};

// All that pushes pass, and the three tables that they go to: "j" and "k" are journaled, "r" is not.
struct Shard {
  explicit Shard(double wait_s)
      : journal(&window, {std::size_t{1} << 20, std::size_t{1} << 30, std::size_t{1} << 16, wait_s}),
        pushes({0.001}, 1000, kThreads + 4, {&window, &gate, &journal, &authors, kKind}, &waits) {
    pushes.set_tables(tables());
    pushes.set_room(1 << 30);
    pushes.open();
    note_unfollowed();
  }

  FastTables tables() {
    FastTables made;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      FastTable& table = made[names[i]];
      table.rows = &rows[i];
      table.steps = &steps[i];
      table.lock = &locks[i];
      table.table_id = static_cast<std::uint32_t>(9 - i);
      table.leaves_record = i < 2;
    }
    return made;
  }
  void note_unfollowed() {
    gate.enter();
    gate.note_unfollowed();
    gate.leave();
  }
  float count(std::size_t table, std::int64_t key) {
    float value = 0;
    std::uint8_t status = 0;
    rows[table].pull({&key, 1}, {DType::kFloat32, &value}, &status, 1);
    return value;
  }

  const std::array<std::string, 3> names{"j", "k", "r"};
  std::array<RowTable, 3> rows{counting_table("j"), counting_table("k"), counting_table("r")};
  std::array<StepCounter, 3> steps{StepCounter(0), StepCounter(0), StepCounter(0)};
  std::array<MutationLock, 3> locks;
  DedupWindow window{10'000, 100};
  MutationGate gate;
  JournalQueue journal;
  Authors authors;
  Unknown waits;
  FastPushes pushes;
};

using Counts = std::array<std::array<std::atomic<int>, kKeys>, 3>;

// Pushes under a client's name, as another thread does, too: each request is done once, whoever of them is answered.
void push_all(Shard& shard, int place, Counts& counts, std::atomic<int>& left) {
  std::mt19937_64 random(static_cast<std::uint64_t>(place / 2) + 7);  // The two send the same.
  const std::vector<std::vector<std::string>> choices{{"j"}, {"r"}, {"j", "k"}, {"r", "j"}, {"k"}};
  for (int number = 1; number <= kPushes; ++number) {
    const auto& chosen = choices[random() % choices.size()];
    std::set<std::int64_t> distinct;
    for (int i = 0; i < 20; ++i) distinct.insert(static_cast<std::int64_t>(random() % kKeys));
    const std::vector<std::int64_t> keys(distinct.begin(), distinct.end());
    const std::string client = "c" + std::to_string(place / 2);
    const auto call = call_of(push_of(chosen, keys, client, static_cast<std::uint64_t>(number)));
    // Whatever is not for here is another's, who would wait for the one under way; here it is tried again until known.
    while (true) {
      const std::optional<Answer> answer = shard.pushes.answer(*call);
      if (answer) {
        CHECK(answer->status == 0 || answer->status == 14);
        for (const std::string& name : chosen) {
          for (const std::int64_t key : keys)
            ++counts[name == "j" ? 0 : name == "k" ? 1 : 2][static_cast<std::size_t>(key)];
        }
        break;
      }
      const Entered entered = shard.window.enter(client, static_cast<std::uint64_t>(number), kKind);
      if (entered.known == Known::kAnswered) break;
      if (entered.known == Known::kNew) shard.window.fail(*entered.under_way);
      std::this_thread::yield();
    }
  }
  --left;
}

// Redis for one connection: takes each XADD and answers it, or an error, or nothing and hangs up.
void serve(int socket, int fail_one_in) {
  std::string data;
  std::mt19937_64 random(99);
  char part[4096];
  while (true) {
    // *N, then N bulk strings.
    std::size_t at = 0;
    const auto line = [&]() -> long {
      std::size_t end;
      while ((end = data.find("\r\n", at)) == std::string::npos) {
        const ssize_t got = ::recv(socket, part, sizeof part, 0);
        if (got <= 0) return -1;
        data.append(part, static_cast<std::size_t>(got));
      }
      const long number = std::strtol(data.c_str() + at + 1, nullptr, 10);
      at = end + 2;
      return number;
    };
    const long fields = line();
    if (fields < 0) return;
    std::string id;
    for (long i = 0; i < fields; ++i) {
      const long size = line();
      if (size < 0) return;
      while (data.size() < at + static_cast<std::size_t>(size) + 2) {
        const ssize_t got = ::recv(socket, part, sizeof part, 0);
        if (got <= 0) return;
        data.append(part, static_cast<std::size_t>(got));
      }
      if (i == 3) id = data.substr(at, static_cast<std::size_t>(size));
      at += static_cast<std::size_t>(size) + 2;
    }
    data.erase(0, at);
    const auto roll = fail_one_in == 0 ? 1 : random() % static_cast<unsigned>(fail_one_in);
    if (roll == 0) {
      if (random() % 2 == 0) return;
      ::send(socket, "-LOADING\r\n", 10, MSG_NOSIGNAL);
      continue;
    }
    const std::string answer = "$" + std::to_string(id.size()) + "\r\n" + id + "\r\n";
    for (const char byte : answer) ::send(socket, &byte, 1, MSG_NOSIGNAL);  // However it comes.
  }
}

// Appends as the journal's thread does, over connection after connection; some appends are lost with their stream.
void append_all(Shard& shard, int fail_one_in, int reopen_one_in) {
  std::mt19937_64 random(5);
  JournalGroup group;
  while (true) {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    std::thread redis([&] {
      serve(ends[1], fail_one_in);
      ::close(ends[1]);
    });
    StreamAppender appender(ends[0], "{s0}:journal:1", 5.0);
    std::uint64_t stream = shard.journal.stream();
    bool over = false;
    while (true) {
      if (group.entries.empty()) group = shard.journal.take_group(stream);
      if (group.entries.empty()) {
        over = shard.journal.stopping();
        break;
      }
      if (appender.append(group) != Appended::kYes) {
        shard.journal.failed("no", false);
        break;
      }
      if (reopen_one_in != 0 && random() % static_cast<unsigned>(reopen_one_in) == 0) shard.journal.reopened(0);
      if (!shard.journal.landed(group, stream)) {
        stream = shard.journal.stream();
        continue;  // Once more, in the stream of now.
      }
      group = {};
    }
    ::shutdown(ends[0], SHUT_RDWR);
    redis.join();
    ::close(ends[0]);
    if (over) return;
  }
}

void pushes_beside_everything(int fail_one_in, int reopen_one_in) {
  Shard shard(5.0);
  Counts counts{};
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int place = 0; place < kThreads; ++place) {
    threads.emplace_back([&, place] { push_all(shard, place, counts, left); });
  }
  std::thread appender([&] { append_all(shard, fail_one_in, reopen_one_in); });
  std::thread follower([&] {
    std::uint64_t position = 0;
    while (left > 0) {
      shard.journal.keep_records(true);
      for (const Released& one : shard.journal.take_released().first) {
        CHECK(one.position > position);
        position = one.position;
        CHECK(one.lost || one.head.size() >= 44);
        volatile char last = one.body.size == 0 ? 0 : one.body.data[one.body.size - 1];
        (void)last;
      }
      CHECK(shard.journal.released_through() <= shard.journal.last_position());
      CHECK(shard.journal.done_through() <= shard.journal.last_position());
      shard.journal.stored();
      shard.journal.forget(shard.journal.passed(shard.journal.done_through(), 1 << 20));
      shard.authors.of(position);
      shard.window.take_changes();
    }
  });
  std::thread gates([&] {
    while (left > 0) {
      if (shard.gate.close(1.0)) {
        const std::uint64_t last = shard.journal.last_position();
        shard.pushes.set_tables(shard.tables());
        CHECK_EQ(shard.journal.last_position(), last);  // Nobody is inside.
        shard.gate.open();
      }
      shard.note_unfollowed();
      shard.pushes.close();
      shard.pushes.open();
      {
        const std::lock_guard<std::mutex> locked(shard.locks[0].mutex);
        shard.locks[0].optimizer = std::string(40, 'x');
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  for (auto& thread : threads) thread.join();
  shard.journal.stop();
  appender.join();
  follower.join();
  gates.join();
  CHECK(!shard.journal.has_unappended());
  CHECK_EQ(shard.journal.done_through(), shard.journal.last_position());
  CHECK_EQ(shard.journal.pending_bytes(), std::size_t{0});
  CHECK_EQ(shard.journal.unreleased(), std::size_t{0});
  for (std::size_t table = 0; table < 3; ++table) {
    for (std::int64_t key = 0; key < kKeys; ++key) {
      CHECK_EQ(shard.count(table, key), static_cast<float>(counts[table][static_cast<std::size_t>(key)]));
    }
  }
}

TEST(fast_pushes, each_is_done_once) {
  pushes_beside_everything(0, 0);
}

TEST(fast_pushes, each_is_done_once_though_appends_fail) {
  pushes_beside_everything(7, 0);
}

TEST(fast_pushes, each_is_done_once_though_streams_are_lost) {
  pushes_beside_everything(0, 9);
}

TEST(fast_pushes, nobody_waits_for_a_journal_that_gave_up) {
  Shard shard(1000.0);
  std::thread fence([&] {
    while (shard.waits.waits == 0) std::this_thread::yield();
    shard.journal.fence();
  });
  const auto first = shard.pushes.answer(*call_of(push_of({"j"}, {1, 2}, "c", 1)));
  fence.join();
  CHECK(first && first->status == 14);
  CHECK(!shard.pushes.answer(*call_of(push_of({"j"}, {1, 2}, "c", 2))));
  CHECK(shard.pushes.answer(*call_of(push_of({"r"}, {1, 2}, "c", 3)))->status == 0);
  CHECK(shard.window.enter("c", 1, kKind).known == Known::kUnderWay);
  CHECK(shard.journal.take_group().entries.empty());
}

}  // namespace
}  // namespace rowbank::wire
