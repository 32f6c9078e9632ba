#include "fast_journal.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "journal_record.h"

namespace rowbank::wire {

TableLocks::TableLocks(std::vector<const FastTable*> tables) : tables_(std::move(tables)) {
  std::sort(tables_.begin(), tables_.end(),
            [](const FastTable* one, const FastTable* other) { return one->table_id < other->table_id; });
  for (const FastTable* table : tables_) {
    table->lock->mutex.lock();
  }
}

TableLocks::~TableLocks() {
  for (const FastTable* table : tables_) {
    table->lock->mutex.unlock();
  }
}

std::shared_ptr<JournalEntry> record(const PushPasses& passes, const std::vector<RecordPart>& parts, RecordOf of) {
  const std::shared_ptr<JournalEntry> entry = passes.journal->begin(/*synced=*/false, /*appended=*/true);
  try {
    RecordHead head{passes.kind, entry->position, of.now_s,   of.sequence, of.client_id, of.answer,
                    {},          of.body.size,    of.body_crc};
    for (const RecordPart& part : parts) {
      head.tables.push_back({part.table->table_id, part.table->lock->optimizer, {}, part.step});
    }
    std::string packed = pack_record_head(head);
    passes.authors->note(entry->position, of.client_id, {});
    passes.journal->submit(entry, std::move(packed), std::move(of.body), std::move(of.answer), std::move(of.under_way));
  } catch (...) {
    passes.journal->abandon(entry);
    throw;
  }
  for (const RecordPart& part : parts) {
    part.table->lock->journaled_position = entry->position;
  }
  return entry;
}

double thread_s() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

}  // namespace rowbank::wire
