// One mutation's way through the journal.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "clock.h"
#include "dedup_window.h"

namespace rowbank {

// Bytes that stay where they are as long as `owner` lives.
struct KeptBytes {
  const char* data = nullptr;
  std::size_t size = 0;
  std::shared_ptr<void> owner;
  bool is_python = false;  // Whether the owner is an object of Python's.
};

// Made and changed by JournalQueue alone, whose lock guards whatever is not constant. Shared as `UnderWay` is.
struct JournalEntry : std::enable_shared_from_this<JournalEntry> {
  JournalEntry(std::uint64_t position, bool synced, bool appended)
      : position(position), begun_ns(steady_ns()), synced(synced), appended(appended) {
    halves = owed = appended ? 2 : 1;
  }

  const std::uint64_t position;
  const std::int64_t begun_ns;
  const bool synced;
  const bool appended;  // False: the record is for followers alone, and never appended.
  int halves;           // What is still to come, of applied and appended (for a synced table: on disk).
  int owed;             // What is still to come before followers may see it, of applied and appended.
  bool done = false;
  bool woken = false;  // Done, or waiting for it makes no sense any more.
  std::condition_variable changed;

  // The record, from its submission until it is appended and released to followers.
  bool has_record = false;
  std::string head;
  KeptBytes body;
  std::size_t size = 0;

  // What a repeat of the request is answered, once it is done.
  std::string answer;
  std::shared_ptr<UnderWay> under_way;

  void drop_record() {
    has_record = false;
    head.clear();
    body = {};
  }
};

}  // namespace rowbank
