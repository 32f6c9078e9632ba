// What pushes of journaled tables leave behind: a record, in the order of their positions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "authors.h"
#include "dedup_window.h"
#include "fast_calls.h"
#include "journal_entry.h"
#include "journal_queue.h"
#include "mutation_gate.h"

namespace rowbank::wire {

// What pushes pass, whoever answers them. All have to outlive who is told of them.
struct PushPasses {
  DedupWindow* window;
  MutationGate* gate;
  JournalQueue* journal;
  Authors* authors;
  std::uint8_t kind;  // What the window and the journal take a push for.
};

// A table's part in a record.
struct RecordPart {
  const FastTable* table;
  std::uint64_t step;
};

// Holds the locks of tables, in the order in which everybody takes them.
class TableLocks {
 public:
  explicit TableLocks(std::vector<const FastTable*> tables);
  ~TableLocks();
  TableLocks(const TableLocks&) = delete;
  TableLocks& operator=(const TableLocks&) = delete;

 private:
  std::vector<const FastTable*> tables_;
};

// What a record says beside its tables.
struct RecordOf {
  std::string client_id;
  std::uint64_t sequence = 0;
  std::string answer;
  KeptBytes body;
  std::uint32_t body_crc = 0;
  std::uint32_t now_s = 0;
  std::shared_ptr<UnderWay> under_way;
};

// Takes a position for a push and queues its record. REQUIRES: the caller holds the locks of the tables, which are in
// the order of the request. Where it throws, nothing was queued.
std::shared_ptr<JournalEntry> record(const PushPasses& passes, const std::vector<RecordPart>& parts, RecordOf of);

// Processor time of this thread.
double thread_s();

}  // namespace rowbank::wire
