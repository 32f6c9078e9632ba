// Replays a sample of accesses through an eviction policy, to say what it would have done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "access_sample.h"
#include "row.h"
#include "row_table.h"

namespace rowbank {

// A row of the sampled keys, as it is now.
struct LiveRow {
  std::uint64_t hash;
  Usage usage;
};

struct SimulationInput {
  AccessSample::Picture sample;
  std::vector<LiveRow> rows;  // Of the sample's keys.
  double share = 1;           // Of all rows, those of the sample's keys.
  double half_life_s = 0;     // Of the table.
  bool track_reads = false;
  std::uint32_t regret_window_s = 0;
};

// Replays. The table begins as it was when the sample began: with the rows that the first access of their keys found,
// and with those that nobody has used since. The first half of the accesses only warms it; the second half is counted.
// At a share of 1 it does what the table itself would have done with a cycle after each second that had accesses, but
// that it counts keys which are not admitted yet exactly and does not forget them. A half-life that is not the table's
// own starts from the frequencies there are.
SimulatedPolicy simulate(const SimulationInput& input, const WhatIf& what_if);

// Takes fewer keys where a replay would take long: a cycle looks at all rows of the sample.
void bound_work(SimulationInput& input);

}  // namespace rowbank
