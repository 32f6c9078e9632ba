// Pushes that nothing speaks against, without the interpreter: of journaled tables; and of relaxed ones, which leave
// nothing behind but changed rows, while nobody follows.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blocks.h"
#include "fast_calls.h"
#include "fast_journal.h"

namespace rowbank::wire {

// What is asked of others about pushes that wait for the journal. Called by the threads that answer.
class PushWaits {
 public:
  virtual ~PushWaits() = default;
  // The caller has nothing more to do for a push but wait.
  virtual void before_wait() = 0;
  // Why it is not known whether a push will last. Nothing: it is known by now that it will.
  virtual std::optional<Answer> unconfirmed(const Call& call, const std::shared_ptr<JournalEntry>& entry) = 0;
};

// Thread-safe.
class FastPushes {
 public:
  // Thrown where memory ran out after rows were changed: what is left undone stays so.
  struct Broken {};

  FastPushes(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once, PushPasses passes, PushWaits* waits);

  void set_tables(FastTables tables) { catalog_.set(std::move(tables)); }
  // So many bytes may new rows take; where that is not enough for all keys of a push, the handlers look closer.
  void set_room(std::int64_t bytes) { room_.store(bytes, std::memory_order_relaxed); }
  // Nothing is answered until it is open; once `close` returns, nothing is under way.
  void open() { door_.open(); }
  void close() { door_.close(); }

  // The answer; nothing: the request is not for here, and changed nothing. Throws Broken.
  std::optional<Answer> answer(const Call& call);
  const FastTimes& times() const { return times_; }
  // Whether the last push was answered here.
  bool lately() const { return lately_.load(std::memory_order_relaxed); }

 private:
  struct Part;
  struct Push;
  bool read(std::string_view body, const FastTables& known, Push* push) const;
  bool read_part(std::string_view bytes, const FastTables& known, Part* part) const;
  bool check(Part* part, DType dtype, Push* push);
  bool has_room(const Push& push) const;
  // Whether it can be applied and there is room for its rows.
  bool check(Push* push);
  // Applies it, if it is to be; false: it is not for here.
  bool push(Push* push, const Call& call);
  bool enter(Push* push);
  bool push_relaxed(Push* push);
  void complete(Push* push);
  bool push_journaled(Push* push, const Call& call);
  void take_steps(Push* push);
  void apply(Push* push, std::uint64_t position);
  std::optional<Answer> wait(const Call& call, const std::shared_ptr<JournalEntry>& entry);
  const char* aligned(std::string_view column, std::size_t item, Push* push);

  const std::vector<double> bounds_s_;
  const std::size_t max_keys_;
  const PushPasses passes_;
  PushWaits* const waits_;
  FastDoor door_;
  FastCatalog catalog_;
  std::atomic<std::int64_t> room_{-1};
  std::atomic<bool> lately_{false};
  FastTimes times_;
  Blocks columns_;
  Blocks answers_;
};

}  // namespace rowbank::wire
