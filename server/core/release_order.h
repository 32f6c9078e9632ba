// Hands mutations to whoever follows, in the order of their positions.
//
// Problem: mutations of several tables are applied, and appended, in any order among each other. Idea: followers get
// each once it is applied and appended, and everything before it is, too: so whoever has taken in one has taken in all
// before it, and nobody ever sees a mutation that a crash could undo.
//
// A mutation of a relaxed table is not appended, and yet waits for those before it. While Redis is away nothing passes:
// then what waits is bounded, and what is beyond the bound is lost to followers, who are told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "journal_entry.h"

namespace rowbank {

// A mutation for followers, begun at that time; or, `lost`, the news that those of relaxed tables up to that position
// will never come.
struct Released {
  std::uint64_t position = 0;
  bool lost = false;
  std::string head;
  KeptBytes body;
  std::int64_t begun_ns = 0;
};

// Callers hold one lock.
class ReleaseOrder {
 public:
  using Entry = std::shared_ptr<JournalEntry>;

  // `max_bytes`: of records of relaxed tables that wait.
  explicit ReleaseOrder(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // How many mutations were begun and not released.
  std::size_t waiting() const { return waiting_.size(); }
  // The highest position up to which everything is released, where `last` is the highest that was given.
  std::uint64_t through(std::uint64_t last) const;
  // When the oldest of those that wait was begun.
  std::optional<std::int64_t> waiting_since() const;

  // Takes an entry with the next position.
  void add(Entry entry);
  // Counts the record of an entry that is not appended.
  void keep(JournalEntry* entry);
  // Lets the others pass an entry that came to nothing.
  void abandon(JournalEntry* entry);
  // Releases what nothing stands before any more.
  void advance();
  // Releases nothing any more.
  void close(std::uint64_t last);

  // Whether records are kept for `take`; returns the position released last.
  std::uint64_t keep_records(bool on);
  bool keeps_records() const { return keeps_records_; }
  // What was released since the last call, and the position released last.
  std::pair<std::vector<Released>, std::uint64_t> take();

 private:
  static constexpr std::size_t kPrunedAt = 4096;  // Lost entries that still wait for their turn.
  void prune();

  const std::size_t max_bytes_;
  std::deque<Entry> waiting_;
  std::size_t kept_bytes_ = 0;
  std::uint64_t lost_ = 0;  // The highest position of those that are lost and were not told of yet.
  std::size_t unpruned_ = 0;
  std::optional<std::pair<std::uint64_t, std::int64_t>> closed_;  // Up to where, and until when, all was released.

  bool keeps_records_ = false;
  std::uint64_t released_ = 0;
  std::vector<Released> records_;
};

}  // namespace rowbank
