// What mutations pass: the window of their ids, and the gate.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bind.h"
#include "bytes.h"
#include "dedup_window.h"
#include "mutation_gate.h"
#include "step_counter.h"

namespace rowbank::python {
namespace {

namespace nb = nanobind;
using Release = nb::gil_scoped_release;

nb::tuple enter(DedupWindow& window, const std::string& client_id, std::uint64_t sequence, std::uint8_t kind) {
  Entered entered = window.enter(client_id, sequence, kind);
  return nb::make_tuple(static_cast<int>(entered.known), entered.under_way, bytes_of(entered.answer));
}

nb::tuple take_changes(DedupWindow& window) {
  WindowChanges changes;
  {
    const Release nogil;
    changes = window.take_changes();
  }
  nb::dict windows;
  for (const auto& [name, packed] : changes.windows) {
    windows[nb::str(name.c_str(), name.size())] = bytes_of(packed);
  }
  return nb::make_tuple(windows, changes.gone);
}

nb::object packed(const DedupWindow& window, const std::string& client_id) {
  const std::optional<std::string> found = window.packed(client_id);
  return found ? nb::object(bytes_of(*found)) : nb::none();
}

void bind_window(nb::module_& m) {
  m.attr("KNOWN_NEW") = static_cast<int>(Known::kNew);
  m.attr("KNOWN_UNDER_WAY") = static_cast<int>(Known::kUnderWay);
  m.attr("KNOWN_ANSWERED") = static_cast<int>(Known::kAnswered);
  m.attr("KNOWN_OTHER_KIND") = static_cast<int>(Known::kOtherKind);
  m.attr("KNOWN_TOO_OLD") = static_cast<int>(Known::kTooOld);
  nb::class_<UnderWay>(m, "UnderWay")
      .def_ro("client_id", &UnderWay::client_id)
      .def_ro("sequence", &UnderWay::sequence)
      .def_ro("kind", &UnderWay::kind);
  nb::class_<DedupWindow>(m, "DedupWindow")
      .def(nb::init<std::size_t, std::size_t>(), nb::kw_only(), nb::arg("window"), nb::arg("max_clients"))
      .def("enter", enter, nb::arg("client_id"), nb::arg("sequence"), nb::arg("kind"))
      .def(
          "complete",
          [](DedupWindow& self, UnderWay& mutation, const nb::bytes& answer) {
            self.complete(mutation, view_of(answer));
          },
          nb::arg("mutation"), nb::arg("answer"))
      .def("fail", &DedupWindow::fail, nb::arg("mutation"))
      .def("done", &DedupWindow::done, nb::arg("mutation"))
      .def("wait", &DedupWindow::wait, nb::arg("mutation"), nb::arg("timeout_s"), nb::call_guard<Release>())
      .def(
          "replay",
          [](DedupWindow& self, const std::string& client_id, std::uint64_t sequence, std::uint8_t kind,
             const nb::bytes& answer) { self.replay(client_id, sequence, kind, view_of(answer)); },
          nb::arg("client_id"), nb::arg("sequence"), nb::arg("kind"), nb::arg("answer"))
      .def(
          "restore",
          [](DedupWindow& self, const std::string& client_id, const nb::bytes& packed) {
            return self.restore(client_id, view_of(packed));
          },
          nb::arg("client_id"), nb::arg("packed"))
      .def(
          "merge",
          [](DedupWindow& self, const std::string& client_id, const nb::bytes& packed) {
            return self.merge(client_id, view_of(packed));
          },
          nb::arg("client_id"), nb::arg("packed"))
      .def("take_changes", take_changes)
      .def("give_back", &DedupWindow::give_back, nb::arg("changed"), nb::arg("gone"))
      .def("mark_all_changed", &DedupWindow::mark_all_changed)
      .def("clients", &DedupWindow::clients)
      .def("packed", packed, nb::arg("client_id"));
}

void bind_steps(nb::module_& m) {
  nb::class_<StepCounter>(m, "StepCounter")
      .def(nb::init<std::uint64_t>(), nb::arg("step"))
      .def_prop_ro("step", &StepCounter::step)
      .def("next", &StepCounter::next, nb::arg("asked"))
      .def("raise_to", &StepCounter::raise, nb::arg("step"));
}

void bind_gate(nb::module_& m) {
  nb::class_<MutationGate>(m, "MutationGate")
      .def(nb::init<>())
      .def("enter",
           [](MutationGate& self) {
             if (!self.try_enter()) {
               const Release nogil;
               self.enter();
             }
           })
      .def("leave", &MutationGate::leave)
      .def("note_unfollowed", &MutationGate::note_unfollowed)
      .def("close", &MutationGate::close, nb::arg("timeout_s"), nb::call_guard<Release>())
      .def("open", &MutationGate::open);
}

}  // namespace

void bind_mutations(nb::module_& m) {
  bind_window(m);
  bind_gate(m);
  bind_steps(m);
}

}  // namespace rowbank::python
