#include "reports.h"

#include <stdexcept>

#include "arrays.h"

namespace rowbank::python {
namespace {

const char* outcome_name(CycleOutcome outcome) {
  switch (outcome) {
    case CycleOutcome::kBelowWatermark:
      return "below_watermark";
    case CycleOutcome::kOutOfTime:
      return "out_of_time";
    case CycleOutcome::kNothingToEvict:
      return "nothing_to_evict";
    case CycleOutcome::kComplete:
      return "complete";
  }
  return "";
}

template <typename T>
nb::object array_of(std::vector<T> column) {
  const std::size_t count = column.size();
  return owned_array(std::move(column), {count});
}

}  // namespace

Score score_of(const std::string& score) {
  if (score == "frequency") return Score::kFrequency;
  if (score == "last_used") return Score::kLastUsed;
  throw std::invalid_argument("score must be 'frequency' or 'last_used', got '" + score + "'");
}

EvictionPolicy policy_of(const std::string& policy) {
  if (policy == "lfu") return EvictionPolicy::kLfu;
  if (policy == "lru") return EvictionPolicy::kLru;
  if (policy == "none") return EvictionPolicy::kNone;
  throw std::invalid_argument("policy must be 'lfu', 'lru' or 'none', got '" + policy + "'");
}

void bind_reports(nb::module_& m) {
  nb::class_<PushCounts>(m, "PushCounts")
      .def_ro("distinct", &PushCounts::distinct)
      .def_ro("inserted", &PushCounts::inserted)
      .def_ro("not_admitted", &PushCounts::not_admitted);
  nb::class_<CycleReport>(m, "CycleReport")
      .def_prop_ro("outcome", [](const CycleReport& report) { return outcome_name(report.outcome); })
      .def_ro("evicted", &CycleReport::evicted)
      .def_ro("bytes", &CycleReport::bytes)
      .def_ro("score_cut", &CycleReport::score_cut)
      .def_ro("duration_ms", &CycleReport::duration_ms)
      .def_prop_ro("evicted_keys", [](const CycleReport& report) { return array_of(report.gone.keys); })
      .def_prop_ro("evicted_frequency", [](const CycleReport& report) { return array_of(report.gone.frequency); })
      .def_prop_ro("evicted_last_used", [](const CycleReport& report) { return array_of(report.gone.last_used); })
      .def_prop_ro("packed_keys", [](const CycleReport& report) { return array_of(report.gone.packed_keys); })
      .def_prop_ro("packed", [](const CycleReport& report) {
        return nb::bytes(report.gone.packed.data(), report.gone.packed.size());
      });
  nb::class_<TableStats>(m, "TableStats")
      .def_ro("pulled_found", &TableStats::pulled_found)
      .def_ro("pulled_initialized", &TableStats::pulled_initialized)
      .def_ro("pulled_not_admitted", &TableStats::pulled_not_admitted)
      .def_ro("pushed", &TableStats::pushed)
      .def_ro("inserted", &TableStats::inserted)
      .def_ro("not_admitted", &TableStats::not_admitted)
      .def_ro("evicted", &TableStats::evicted)
      .def_ro("expired", &TableStats::expired)
      .def_ro("removed", &TableStats::removed)
      .def_ro("regretted", &TableStats::regretted);
  nb::class_<PyExportedRows>(m, "ExportedRows")
      .def_ro("keys", &PyExportedRows::keys)
      .def_ro("values", &PyExportedRows::values)
      .def_ro("frequency", &PyExportedRows::frequency)
      .def_ro("last_used", &PyExportedRows::last_used)
      .def_ro("slots", &PyExportedRows::slots);
  nb::class_<PyDirtyRows>(m, "DirtyRows")
      .def_ro("keys", &PyDirtyRows::keys)
      .def_ro("packed", &PyDirtyRows::packed)
      .def_ro("removed_keys", &PyDirtyRows::removed_keys);
  nb::class_<PyLoadedFields>(m, "LoadedFields")
      .def_ro("loaded", &PyLoadedFields::loaded)
      .def_ro("corrupt", &PyLoadedFields::corrupt);
  nb::class_<PyRestrictReport>(m, "RestrictReport")
      .def_ro("rows_before", &PyRestrictReport::rows_before)
      .def_ro("rows_after", &PyRestrictReport::rows_after)
      .def_ro("evicted", &PyRestrictReport::evicted)
      .def_ro("bytes", &PyRestrictReport::bytes)
      .def_ro("score_cut", &PyRestrictReport::score_cut)
      .def_ro("sample_keys", &PyRestrictReport::sample_keys)
      .def_ro("evicted_keys", &PyRestrictReport::evicted_keys)
      .def_ro("evicted_frequency", &PyRestrictReport::evicted_frequency)
      .def_ro("evicted_last_used", &PyRestrictReport::evicted_last_used)
      .def_ro("packed_keys", &PyRestrictReport::packed_keys)
      .def_ro("packed", &PyRestrictReport::packed);
  nb::class_<PyRanks>(m, "Ranks")
      .def_ro("rows", &PyRanks::rows)
      .def_ro("below", &PyRanks::below)
      .def_ro("within", &PyRanks::within)
      .def_ro("standings", &PyRanks::standings)
      .def_ro("lots", &PyRanks::lots);
  nb::class_<PyRowDescription>(m, "RowDescription")
      .def_ro("key", &PyRowDescription::key)
      .def_ro("bucket", &PyRowDescription::bucket)
      .def_ro("frequency", &PyRowDescription::frequency)
      .def_ro("last_used", &PyRowDescription::last_used)
      .def_ro("position", &PyRowDescription::position)
      .def_ro("dirty", &PyRowDescription::dirty)
      .def_ro("values", &PyRowDescription::values)
      .def_ro("slots", &PyRowDescription::slots);
}

}  // namespace rowbank::python
