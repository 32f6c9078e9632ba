// Feeds one connection of the native endpoint, and the plain reads and pushes behind it, from a stream of bytes; aborts
// where its books do not balance. Built like fuzz_table: with libFuzzer, or `rowbank_fuzz_wire ROUNDS [SEED]`.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "connection.h"
#include "fast_pushes.h"
#include "fast_reads.h"
#include "peer.h"

namespace rowbank::wire {
namespace {

constexpr char kPull[] = "/pull";
constexpr char kPush[] = "/push";

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "fuzz_wire: %s\n", what);
    std::abort();
  }
}

class Books : public Rules {
 public:
  Books() { max_message_bytes = max_answer_bytes = 1 << 16; }
  int method_of(const std::string& path, std::string* text) const override {
    *text = "unknown";
    return path == kPull ? 0 : path == kPush ? 1 : -1;
  }
  Room allocate(std::size_t, std::size_t bytes) override {
    require(bytes <= max_message_bytes, "more was asked for than a message may have");
    std::shared_ptr<char[]> made(new char[bytes]);  // No byte more, so that one read or written beyond is noticed.
    return {made.get(), made, false};
  }
  std::optional<Answer> look(const std::string&, const std::shared_ptr<Call>& call,
                             const std::shared_ptr<Connection>&) override {
    return call->metadata.size() > 5 ? std::optional<Answer>(refusal(Refusal::kSlow)) : std::nullopt;
  }
  std::uint64_t may_arrive(const std::shared_ptr<Connection>&, std::int32_t) override {
    return ++arriving <= 50 ? ++last : (--arriving, 0);
  }
  void arrived(std::uint64_t id, bool) override {
    require(id != 0 && id <= last && --arriving >= 0, "more requests arrived than began");
  }
  Answer refusal(Refusal) override {
    Answer answer;
    answer.status = 14;
    return answer;
  }

  int arriving = 0;
  std::uint64_t last = 0;
};

// Whoever has to wait for the journal is told that nobody knows.
struct NobodyKnows : PushWaits {
  void before_wait() override {}
  std::optional<Answer> unconfirmed(const Call&, const std::shared_ptr<JournalEntry>&) override {
    Answer answer;
    answer.status = 14;
    return answer;
  }
};

class Driver {
 public:
  Driver(const std::uint8_t* data, std::size_t size)
      : at_(data),
        end_(data + size),
        table_(options(), Initializer("constant", 3, 0, 0), Optimizer("sgd", rate())),
        journaled_(options(), Initializer("constant", 3, 0, 0), Optimizer("sgd", rate())) {}

  void run() {
    int ends[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0, "no pair of sockets");
    peer_ = ends[1];
    FastReads reads({0.001}, 100, 4);
    FastPushes pushes({0.001}, 100, 4, {&window_, &gate_, &journal_, &authors_, 1}, &waits_);
    FastTables tables;
    tables["t"].rows = &table_;
    tables["j"].rows = &journaled_;
    tables["j"].leaves_record = true;
    for (auto& [name, table] : tables) {
      table.steps = &steps_;
      table.lock = &locks_[table.table_id = name == "j" ? 1 : 0];
    }
    reads.set_tables(tables);
    reads.open();
    pushes.set_tables(std::move(tables));
    pushes.set_room(1 << 30);
    pushes.open();
    gate_.enter();
    gate_.note_unfollowed();
    gate_.leave();
    connection_ = std::make_shared<Connection>(ends[0], "unix:1", &books_);
    bool alive = connection_->open();
    if (next() % 8 != 0) alive = alive && say(std::string(test::kPreface) + test::frame(test::kSettings, 0, 0, ""));
    while (alive && at_ < end_) {
      alive = say(next_bytes());
      if (next() % 4 == 0) drain();
      if (alive && next() % 8 == 0) answer_one(reads, pushes);
    }
    while (!waiting_.empty()) answer_one(reads, pushes);
    append();
    require(journal_.done_through() == journal_.last_position(), "a mutation is never done");
    require(journal_.pending_bytes() == 0 && journal_.unreleased() == 0, "a record is left over");
    require(gate_.close(0), "a push is inside for ever");
    connection_->close();
    require(books_.arriving == 0, "a request that ended still arrives");
    require(!connection_->has_unsent() || connection_->closed(), "it is closed and has more to say");
    connection_.reset();
    ::close(peer_);
  }

 private:
  static TableOptions options() {
    TableOptions options;
    options.name = "t";
    options.dim = 2;
    return options;
  }
  static std::map<std::string, double> rate() { return {{"learning_rate", 1.0}}; }
  std::uint8_t next() { return at_ < end_ ? *at_++ : 0; }
  std::string some(std::size_t size) {
    std::string out;
    for (std::size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(next()));
    return out;
  }

  std::string body() {
    if (next() % 4 == 0) return some(next() % 40);
    // Nearly a pull of a table.
    const std::string keys = some(8 * (next() % 5U));
    std::string table = std::string("\x0a\x01t\x12", 4) + static_cast<char>(keys.size()) + keys;
    if (next() % 4 == 0) table += some(next() % 4);
    std::string request = std::string("\x0a", 1) + static_cast<char>(table.size()) + table;
    if (next() % 3 == 0) request += std::string("\x10", 1) + static_cast<char>(next() % 5);
    return request;
  }

  std::string push_body() {
    // Nearly a push to a table, of a client that has many.
    const std::size_t count = next() % 4U;
    const std::string keys = some(8 * count);
    const std::string gradients = some(8 * count);
    std::string table = std::string("\x0a\x01", 2) + (next() % 2 == 0 ? "t" : "j") + "\x12";
    table += static_cast<char>(keys.size()) + keys;
    table += std::string("\x1a", 1) + static_cast<char>(gradients.size()) + gradients;
    if (next() % 4 == 0) table += std::string("\x28", 1) + static_cast<char>(next() % 100);
    if (next() % 4 == 0) table += "\x35" + some(4);
    if (next() % 8 == 0) table += some(next() % 4);
    std::string request = std::string("\x0a", 1) + static_cast<char>(table.size()) + table;
    if (next() % 4 == 0) request += std::string("\x10", 1) + static_cast<char>(next() % 4);
    if (next() % 2 == 0) {
      request += std::string("\x1a\x05\x0a\x01", 4) + static_cast<char>('a' + next() % 3) + "\x10";
      request += static_cast<char>(next() % 20);
    }
    return request;
  }

  std::string next_bytes() {
    const std::uint32_t stream = 2U * (next() % 12U) + 1U;
    std::string bytes;
    const bool pushing = next() % 2 == 0;
    switch (next() % 8) {
      case 0:
        return some(next());
      case 1:
        return test::frame(next() % 12, next(), next() % 8 == 0 ? 0 : stream, some(next() % 64));
      case 2:
        bytes = test::frame(test::kHeaders, test::kEndHeaders, streams_, test::call_fields(kPull));
        streams_ += 2;
        return bytes;
      case 3:
        return test::frame(test::kData, next() % 2, stream, some(next() % 64));
      case 4:
        return test::frame(test::kReset, 0, stream, test::big_endian(8, 4));
      default:
        bytes = test::call(streams_,
                           next() % 8 == 0 ? "/other"
                           : pushing       ? kPush
                                           : kPull,
                           pushing ? push_body() : body());
        streams_ += 2;
        if (next() % 4 == 0) bytes[next() % bytes.size()] = static_cast<char>(next());
        return bytes;
    }
  }

  bool say(const std::string& bytes) {
    if (::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
      drain();
      return true;  // What the peer's side has no room for was not said.
    }
    char scratch[512];
    bool alive = true;
    for (std::size_t taken = 0; alive && taken <= bytes.size(); taken += sizeof scratch) {
      alive = connection_->receive(scratch, sizeof scratch, &complete_);
      for (auto& call : complete_) waiting_.push_back(std::move(call));
      complete_.clear();
    }
    return alive;
  }

  void answer_one(FastReads& reads, FastPushes& pushes) {
    if (waiting_.empty()) return;
    const std::shared_ptr<Call> call = std::move(waiting_.back());
    waiting_.pop_back();
    const bool pushing = call->method == 1;
    std::optional<Answer> answer = pushing ? pushes.answer(*call) : reads.answer(FastMethod::kPull, *call);
    if (!answer) {
      answer.emplace();
      answer->status = 3;
      answer->text = "no";
    }
    connection_->answer(*call, std::move(*answer));
    connection_->flush();
    if (next() % 4 == 0) append();
  }

  // As if Redis had taken all records.
  void append() {
    while (journal_.pending_bytes() > 0) journal_.landed(journal_.take_group(), journal_.stream());
  }

  void drain() {
    char room[4096];
    while (::recv(peer_, room, sizeof room, 0) > 0) {
    }
    connection_->flush();
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  RowTable table_;
  RowTable journaled_;
  StepCounter steps_{0};
  MutationLock locks_[2];
  DedupWindow window_{8, 2};
  MutationGate gate_;
  JournalQueue journal_{&window_, {4096, 1 << 20, 4096, 0}};
  Authors authors_;
  NobodyKnows waits_;
  Books books_;
  std::shared_ptr<Connection> connection_;
  int peer_ = -1;
  std::uint32_t streams_ = 1;
  std::vector<std::shared_ptr<Call>> complete_;
  std::vector<std::shared_ptr<Call>> waiting_;
};

}  // namespace
}  // namespace rowbank::wire

#ifdef ROWBANK_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rowbank::wire::Driver(data, size).run();
  return 0;
}
#else
int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 200;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20240607;
  std::printf("fuzz_wire: %ld rounds from seed %llu\n", rounds, static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (long round = 0; round < rounds; ++round) {
    std::vector<std::uint8_t> bytes(200 + random() % 8000);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    rowbank::wire::Driver(bytes.data(), bytes.size()).run();
  }
  std::printf("fuzz_wire: all books balance\n");
  return 0;
}
#endif
