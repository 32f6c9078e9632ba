// Python's views of what RowTable returns: columns become arrays that own their memory.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

#include "row_table.h"

namespace rowbank::python {

namespace nb = nanobind;

struct PyExportedRows {
  nb::object keys, values, frequency, last_used, slots;
};
struct PyDirtyRows {
  nb::object keys, removed_keys;
  nb::bytes packed;
};
struct PyLoadedFields {
  std::uint64_t loaded;
  nb::list corrupt;
};
struct PyRestrictReport {
  std::uint64_t rows_before, rows_after, evicted, bytes;
  double score_cut;
  nb::object sample_keys, evicted_keys, evicted_frequency, evicted_last_used, packed_keys;
  nb::bytes packed;
};
struct PyRanks {
  std::uint64_t rows, below, within;
  nb::object standings, lots;
};
struct PyRowDescription {
  std::int64_t key;
  std::uint32_t bucket, frequency, last_used;
  std::uint64_t position;
  bool dirty;
  nb::object values, slots;
};

void bind_reports(nb::module_& m);
// Methods of RowTable.
void bind_stored_rows(nb::class_<RowTable>& table);
void bind_insight(nb::module_& m, nb::class_<RowTable>& table);

// By name. ValueError says which there are.
Score score_of(const std::string& score);
EvictionPolicy policy_of(const std::string& policy);

}  // namespace rowbank::python
