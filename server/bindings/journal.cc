// The journal's queue, its records, and who made them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "authors.h"
#include "bind.h"
#include "bytes.h"
#include "discarded.h"
#include "journal_queue.h"
#include "journal_record.h"
#include "mutation_lock.h"
#include "stream_append.h"

namespace rowbank::python {
namespace {

namespace nb = nanobind;
using Release = nb::gil_scoped_release;
using Entry = std::shared_ptr<JournalEntry>;

constexpr double kNsPerS = 1e9;

// Lives as long as the process: entries may go when there is no module any more.
Discarded& discarded() {
  static auto* const kept = new Discarded();
  return *kept;
}

nb::object object_of(const KeptBytes& body) {
  return body.is_python ? nb::object(nb::borrow(static_cast<PyObject*>(body.owner.get())))
                        : nb::object(nb::bytes(body.data, body.size));
}

double seconds_of(std::int64_t ns) {
  return static_cast<double>(ns) / kNsPerS;
}

void submit(JournalQueue& queue, const Entry& entry, const nb::bytes& head, const nb::bytes& body,
            const nb::bytes& answer, std::shared_ptr<UnderWay> under_way) {
  discarded().drop();
  queue.submit(entry, std::string(view_of(head)), {body.c_str(), body.size(), discarded().keep(body), true},
               std::string(view_of(answer)), std::move(under_way));
}

// None for a group without entries.
std::shared_ptr<JournalGroup> kept(JournalGroup group) {
  return group.entries.empty() ? nullptr : std::make_shared<JournalGroup>(std::move(group));
}

bool has_synced(const JournalGroup& group) {
  return std::any_of(group.entries.begin(), group.entries.end(), [](const Entry& entry) { return entry->synced; });
}

// Appends group after group, as long as there is nothing about one that somebody has to look after.
std::pair<Appended, std::shared_ptr<JournalGroup>> append(JournalQueue& queue, int socket, const std::string& key,
                                                          double timeout_s, std::uint64_t stream) {
  StreamAppender appender(socket, key, timeout_s);
  while (true) {
    JournalGroup group = queue.take_group(stream);
    if (group.entries.empty()) {
      return {Appended::kYes, nullptr};
    }
    const Appended how = appender.append(group);
    if (how != Appended::kYes) {
      return {how, kept(std::move(group))};
    }
    if (!queue.landed(group, stream)) {
      return {Appended::kRefused, kept(std::move(group))};
    }
    if (queue.filling() || queue.keeps_records() || has_synced(group)) {
      return {Appended::kYes, kept(std::move(group))};
    }
  }
}

nb::list records_of(const JournalGroup& group) {
  nb::list records;
  for (const Entry& entry : group.entries) {
    records.append(nb::make_tuple(bytes_of(entry->head), object_of(entry->body)));
  }
  return records;
}

nb::tuple take_released(JournalQueue& queue) {
  auto [taken, position] = queue.take_released();
  nb::list told;
  for (const Released& one : taken) {
    told.append(
        nb::make_tuple(one.position, one.lost, bytes_of(one.head), object_of(one.body), seconds_of(one.begun_ns)));
  }
  taken.clear();
  discarded().drop();
  return nb::make_tuple(told, position);
}

nb::bytes pack_head(std::uint8_t kind, std::uint64_t position, std::uint32_t now_s, std::uint64_t sequence,
                    const nb::bytes& client_id, const nb::bytes& answer, const std::vector<nb::tuple>& tables,
                    std::size_t body_bytes, std::uint32_t body_crc) {
  RecordHead head{kind, position, now_s, sequence, view_of(client_id), view_of(answer), {}, body_bytes, body_crc};
  for (const nb::tuple& table : tables) {
    head.tables.push_back({nb::cast<std::uint32_t>(table[0]), view_of(nb::cast<nb::bytes>(table[1])),
                           view_of(nb::cast<nb::bytes>(table[2])), nb::cast<std::uint64_t>(table[3])});
  }
  return bytes_of(pack_record_head(head));
}

nb::class_<JournalQueue> bind_queue(nb::module_& m) {
  nb::class_<JournalEntry>(m, "JournalEntry")
      .def_ro("position", &JournalEntry::position)
      .def_ro("synced", &JournalEntry::synced)
      .def_ro("appended", &JournalEntry::appended);
  nb::class_<JournalGroup>(m, "JournalGroup")
      .def_ro("number", &JournalGroup::number)
      .def_ro("entries", &JournalGroup::entries)
      .def_prop_ro("records", records_of);
  nb::enum_<Appended>(m, "Appended")
      .value("YES", Appended::kYes)
      .value("REFUSED", Appended::kRefused)
      .value("UNKNOWN", Appended::kUnknown);
  nb::enum_<Waited>(m, "Waited")
      .value("YES", Waited::kYes)
      .value("FENCED", Waited::kFenced)
      .value("FAILED", Waited::kFailed)
      .value("TOO_LONG", Waited::kTooLong);
  return nb::class_<JournalQueue>(m, "JournalQueue")
      .def(
          "__init__",
          [](JournalQueue* self, DedupWindow* window, std::size_t max_pending_bytes, std::size_t max_bytes,
             std::size_t max_released_bytes, double wait_s) {
            new (self) JournalQueue(window, {max_pending_bytes, max_bytes, max_released_bytes, wait_s});
          },
          nb::arg("window"), nb::kw_only(), nb::arg("max_pending_bytes"), nb::arg("max_bytes"),
          nb::arg("max_released_bytes"), nb::arg("wait_s"), nb::keep_alive<1, 2>())
      .def("reopened", &JournalQueue::reopened, nb::arg("position"))
      .def("fence", &JournalQueue::fence)
      .def("stop", &JournalQueue::stop)
      .def("may_begin", &JournalQueue::may_begin)
      .def("begin", &JournalQueue::begin, nb::kw_only(), nb::arg("synced"), nb::arg("appended"))
      .def("submit", submit, nb::arg("entry"), nb::arg("head"), nb::arg("body"), nb::arg("answer"),
           nb::arg("under_way").none())
      .def("abandon", &JournalQueue::abandon, nb::arg("entry"))
      .def("applied", &JournalQueue::applied, nb::arg("entry"), nb::arg("took_s"))
      .def("wait", &JournalQueue::wait, nb::arg("entry"), nb::arg("timeout_s"), nb::call_guard<Release>())
      .def(
          "take_group", [](JournalQueue& self) { return kept(self.take_group()); }, nb::call_guard<Release>())
      .def("append", append, nb::arg("socket"), nb::arg("key"), nb::arg("timeout_s"), nb::arg("stream"),
           nb::call_guard<Release>())
      .def("pause", &JournalQueue::pause, nb::arg("seconds"), nb::arg("stream"), nb::call_guard<Release>())
      .def("landed", &JournalQueue::landed, nb::arg("group"), nb::arg("stream"))
      .def("failed", &JournalQueue::failed, nb::arg("why"), nb::kw_only(), nb::arg("missing"))
      .def("finish", &JournalQueue::finish, nb::arg("entry"))
      .def("wait_appended", &JournalQueue::wait_appended, nb::arg("position"), nb::arg("timeout_s"),
           nb::call_guard<Release>());
}

void bind_queue_state(nb::class_<JournalQueue> queue) {
  queue.def_prop_ro("wait_s", [](const JournalQueue& self) { return self.limits().wait_s; })
      .def_prop_ro("max_pending_bytes", [](const JournalQueue& self) { return self.limits().max_pending_bytes; })
      .def_prop_ro("max_bytes", [](const JournalQueue& self) { return self.limits().max_bytes; })
      .def_prop_ro("last_position", &JournalQueue::last_position)
      .def_prop_ro("done_through", &JournalQueue::done_through)
      .def_prop_ro("released_through", &JournalQueue::released_through)
      .def_prop_ro("released_until", [](const JournalQueue& self) { return seconds_of(self.released_until()); })
      .def_prop_ro("lag_s", &JournalQueue::lag_s)
      .def_prop_ro("failure", &JournalQueue::failure)
      .def_prop_ro("missing", &JournalQueue::missing)
      .def_prop_ro("fenced", &JournalQueue::fenced)
      .def_prop_ro("stopping", &JournalQueue::stopping)
      .def_prop_ro("has_unappended", &JournalQueue::has_unappended)
      .def_prop_ro("pending_bytes", &JournalQueue::pending_bytes)
      .def_prop_ro("stream", &JournalQueue::stream)
      .def_prop_ro("appended_records", &JournalQueue::appended_records)
      .def_prop_ro("appended_groups", &JournalQueue::appended_groups)
      .def_prop_ro("stored_bytes", &JournalQueue::stored_bytes)
      .def_prop_ro("filling", &JournalQueue::filling)
      .def_prop_ro("crowding", &JournalQueue::crowding)
      .def_prop_ro("gone_through", [](const JournalQueue& self) { return self.stored().gone_through; })
      .def_prop_ro("replay_s", [](const JournalQueue& self) { return self.stored().replay_s; })
      .def_prop_ro("keeps_records", &JournalQueue::keeps_records)
      .def_prop_ro("unreleased", &JournalQueue::unreleased)
      .def("has_done", &JournalQueue::has_done, nb::arg("position"))
      .def("passed", &JournalQueue::passed, nb::arg("position"), nb::kw_only(), nb::arg("most_bytes"))
      .def("forget", &JournalQueue::forget, nb::arg("number"))
      .def("first_after", &JournalQueue::first_after, nb::arg("position"))
      .def("keep_records", &JournalQueue::keep_records, nb::arg("on"))
      .def("take_released", take_released);
}

void bind_lock(nb::module_& m) {
  nb::class_<MutationLock>(m, "MutationLock")
      .def(nb::init<>())
      .def("__enter__",
           [](MutationLock& self) {
             if (!self.mutex.try_lock()) {
               const Release nogil;
               self.mutex.lock();
             }
           })
      .def(
          "__exit__", [](MutationLock& self, const nb::args&) { self.mutex.unlock(); }, nb::arg("raised"))
      .def_prop_rw(
          "journaled_position", [](const MutationLock& self) { return self.journaled_position.load(); },
          [](MutationLock& self, std::uint64_t position) { self.journaled_position = position; })
      .def_prop_rw(
          "optimizer", [](const MutationLock& self) { return bytes_of(self.optimizer); },
          [](MutationLock& self, const nb::bytes& optimizer) { self.optimizer = view_of(optimizer); });
}

}  // namespace

void bind_journal(nb::module_& m) {
  bind_queue_state(bind_queue(m));
  bind_lock(m);
  nb::class_<Authors>(m, "Authors")
      .def(nb::init<>())
      .def("note", &Authors::note, nb::arg("position"), nb::arg("client_id"), nb::arg("caller"))
      .def("of", &Authors::of, nb::arg("position"));
  m.def("pack_record_head", pack_head, nb::kw_only(), nb::arg("kind"), nb::arg("position"), nb::arg("now_s"),
        nb::arg("sequence"), nb::arg("client_id"), nb::arg("answer"), nb::arg("tables"), nb::arg("body_bytes"),
        nb::arg("body_crc"));
}

}  // namespace rowbank::python
