// Gives mutations their positions and hands their records to whoever appends them, many at a time.
//
// Whatever was queued while the last append ran goes with the next one, so a lone mutation waits for nobody and many
// share the cost (group commit). A mutation is done when it has been applied in RAM and appended (and, for a synced
// table, reached the disk); only then is it remembered as answered and may its record be trimmed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dedup_window.h"
#include "journal_entry.h"
#include "release_order.h"
#include "replay_rate.h"
#include "stored_groups.h"

namespace rowbank {

struct JournalLimits {
  std::size_t max_pending_bytes = 0;   // Of records in RAM that are not appended yet.
  std::size_t max_bytes = 0;           // Of records in the stream that are not written back yet.
  std::size_t max_released_bytes = 0;  // Of records of relaxed tables that wait for their turn to be released.
  double wait_s = 0;                   // How long one append may take before nothing more is taken in.
};

// What is appended as one entry of the stream, whose number rises.
struct JournalGroup {
  std::uint64_t number = 0;
  std::vector<std::shared_ptr<JournalEntry>> entries;
  std::size_t bytes = 0;
};

enum class Waited : std::uint8_t { kYes, kFenced, kFailed, kTooLong };

// Thread-safe.
class JournalQueue {
 public:
  using Entry = std::shared_ptr<JournalEntry>;

  // `window` remembers what is done, and has to outlive this.
  JournalQueue(DedupWindow* window, JournalLimits limits);

  const JournalLimits& limits() const { return limits_; }

  // Goes on in a new stream, with what is queued first. Positions to come are above `position`.
  void reopened(std::uint64_t position);
  // Gives up: nothing is appended or acknowledged any more.
  void fence();
  // Lets those who append end once nothing is queued, or appending fails.
  void stop();

  // Whether a mutation could be appended soon, as far as is known, and there is room enough for all who ask.
  bool may_begin() const;
  // Takes the next position. Then `submit` and `applied`, in any order, or `abandon`.
  Entry begin(bool synced, bool appended);
  // Queues the record. Once the mutation is done, repeats of `under_way`, if there is one, get `answer`.
  void submit(const Entry& entry, std::string head, KeptBytes body, std::string answer,
              std::shared_ptr<UnderWay> under_way);
  // Forgets an entry whose mutation failed before it was submitted.
  void abandon(const Entry& entry);
  // The mutation is in RAM. `took_s`: processor time that it took; 0: not known.
  void applied(const Entry& entry, double took_s);
  // Waits until the entry is done, or waiting for it makes no sense any more; returns whether it is done.
  bool wait(const Entry& entry, double timeout_s);

  // What to append next; waits for it. No entries: it was fenced or stopped, or, where `of` is given, goes on in
  // another stream than that.
  JournalGroup take_group(std::optional<std::uint64_t> of = {});
  // Waits before another try; ends early when that may go better, or is not wanted any more.
  void pause(double seconds, std::uint64_t of);
  // A group was appended to the stream `of`. False: that was lost since. Entries of synced tables have to be finished.
  bool landed(const JournalGroup& group, std::uint64_t of);
  // An append failed. `missing`: because there is no stream. Returns whether the last one had not.
  bool failed(std::string why, bool missing);
  // Counts one of the two halves, applied and appended; the second makes the entry done.
  void finish(const Entry& entry);

  Waited wait_appended(std::uint64_t position, double timeout_s);
  std::uint64_t last_position() const { return last_.load(); }
  // All mutations up to this position are done.
  std::uint64_t done_through() const;
  // Everything up to this position is applied and appended, and followers can have it.
  std::uint64_t released_through() const;
  // Every mutation that was acknowledged before this time was released.
  std::int64_t released_until() const;
  // Age of the oldest mutation that is not appended; 0: all are.
  double lag_s() const;

  std::string failure() const;
  bool missing() const { return missing_.load(); }
  bool fenced() const { return fenced_.load(); }
  bool stopping() const { return stopping_.load(); }
  bool has_unappended() const;
  std::size_t pending_bytes() const { return pending_bytes_.load(); }
  // Counts streams: the number of the one that groups are for now.
  std::uint64_t stream() const { return stream_.load(); }
  std::uint64_t appended_records() const { return appended_records_.load(); }
  std::uint64_t appended_groups() const { return appended_groups_.load(); }

  struct Stored {
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    std::uint64_t gone_through = 0;
    double replay_s = 0;
  };
  Stored stored() const;
  std::uint64_t stored_bytes() const { return stored_bytes_.load(); }
  // Whether it is time to make room: five eighths of what the stream may hold are there.
  bool filling() const;
  // How far the stream is from four fifths of what it may hold (0, and less below that) to all of it (1).
  double crowding() const;
  bool has_done(std::uint64_t position) const;
  std::uint64_t passed(std::uint64_t position, std::uint64_t most_bytes) const;
  // Returns whether the stream is empty then.
  bool forget(std::uint64_t number);
  std::optional<std::uint64_t> first_after(std::uint64_t position) const;

  // See ReleaseOrder.
  std::uint64_t keep_records(bool on);
  bool keeps_records() const { return keeps_records_.load(); }
  std::pair<std::vector<Released>, std::uint64_t> take_released();
  std::size_t unreleased() const;

 private:
  // What follows REQUIRES: the caller holds the lock.
  void note_oldest();
  void wake_waiting();

  const JournalLimits limits_;
  DedupWindow* const window_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable progress_;
  std::deque<Entry> queue_;
  std::map<std::uint64_t, Entry> open_;  // Not done, by position.
  std::map<std::uint64_t, Entry> unappended_;
  ReleaseOrder release_;
  StoredGroups stored_;
  ReplayRate rate_;
  std::string failure_;
  std::uint64_t group_ = 0;

  // Written under the lock, and read without it.
  std::atomic<std::uint64_t> last_{0};
  std::atomic<std::uint64_t> stream_{0};
  std::atomic<std::uint64_t> appended_records_{0};
  std::atomic<std::uint64_t> appended_groups_{0};
  std::atomic<std::size_t> pending_bytes_{0};
  std::atomic<std::uint64_t> stored_bytes_{0};
  std::atomic<std::int64_t> oldest_ns_{0};  // When the oldest mutation was begun that is not appended; 0: all are.
  std::atomic<bool> failing_{false};
  std::atomic<bool> missing_{false};
  std::atomic<bool> fenced_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> keeps_records_{false};
};

}  // namespace rowbank
