#pragma once

#include <nanobind/nanobind.h>

namespace rowbank::python {

void bind_row_table(nanobind::module_& m);
void bind_cold_rows(nanobind::module_& m);
void bind_flat_index(nanobind::module_& m);
void bind_inverted_index(nanobind::module_& m);
void bind_message(nanobind::module_& m);
void bind_resp(nanobind::module_& m);
void bind_feature_values(nanobind::module_& m);
void bind_mutations(nanobind::module_& m);
void bind_journal(nanobind::module_& m);

}  // namespace rowbank::python
