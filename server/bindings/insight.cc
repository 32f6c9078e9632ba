// Methods of RowTable that say what its metadata and its traffic mean for eviction.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bind.h"
#include "reports.h"

namespace rowbank::python {
namespace {

using Release = nb::gil_scoped_release;

WhatIf what_if_of(const std::string& policy, std::uint64_t cap_rows, double low_watermark, double half_life_s,
                  std::uint32_t ttl_s, std::uint32_t min_count) {
  if (!(low_watermark > 0 && low_watermark <= 1)) {
    throw std::invalid_argument("low_watermark must be in (0, 1], got " + std::to_string(low_watermark));
  }
  if (!std::isfinite(half_life_s) || half_life_s < 0) {
    throw std::invalid_argument("half_life_s must be a finite number of at least 0, got " +
                                std::to_string(half_life_s));
  }
  return {policy_of(policy), cap_rows, low_watermark, half_life_s, ttl_s, min_count};
}

Simulated simulate(const RowTable& table, const std::vector<WhatIf>& what_ifs, std::int64_t now) {
  const std::uint32_t now_s = seconds_of(now);
  const Release nogil;
  return table.simulate(what_ifs, now_s);
}

nb::tuple histogram(const RowTable& table, std::int64_t now) {
  const std::uint32_t now_s = seconds_of(now);
  UsageHistogram counts;
  {
    const Release nogil;
    counts = table.histogram(now_s);
  }
  return nb::make_tuple(counts.rows, owned_array(std::move(counts.frequencies), {UsageHistogram::kLevels}),
                        owned_array(std::move(counts.ages), {UsageHistogram::kLevels}));
}

nb::object standing(const RowTable& table, std::int64_t key, const std::string& score, std::int64_t now) {
  const Score by = score_of(score);
  const std::uint32_t now_s = seconds_of(now);
  std::optional<Standing> found;
  {
    const Release nogil;
    found = table.standing(key, by, now_s);
  }
  return found ? nb::object(nb::make_tuple(found->rows, found->before, found->score)) : nb::none();
}

nb::dict access_sample(const RowTable& table) {
  AccessSample::Picture picture;
  std::vector<std::int64_t> keys;
  std::vector<std::uint32_t> at, frequency, last_used, occurrences;
  std::vector<std::uint8_t> push, found;
  {
    const Release nogil;
    picture = table.access_sample().picture();
    const FrequencyClock clock(table.options().half_life_s);
    for (const Access& access : picture.accesses) {
      keys.push_back(key_of_hash(access.hash));
      at.push_back(access.at);
      frequency.push_back(clock.to_count(access.usage.frequency));
      last_used.push_back(access.usage.last_used);
      occurrences.push_back(access.occurrences());
      push.push_back(access.push() ? 1 : 0);
      found.push_back(access.found() ? 1 : 0);
    }
  }
  const std::size_t count = keys.size();
  nb::dict columns;
  columns["keys"] = owned_array(std::move(keys), {count});
  columns["at"] = owned_array(std::move(at), {count});
  columns["frequency"] = owned_array(std::move(frequency), {count});
  columns["last_used"] = owned_array(std::move(last_used), {count});
  columns["occurrences"] = owned_array(std::move(occurrences), {count});
  columns["push"] = owned_array(std::move(push), {count});
  columns["found"] = owned_array(std::move(found), {count});
  columns["rate"] = static_cast<double>(picture.threshold) / AccessSample::kWhole;
  return columns;
}

}  // namespace

void bind_insight(nb::module_& m, nb::class_<RowTable>& table) {
  nb::class_<WhatIf>(m, "WhatIf")
      .def(
          "__init__",
          [](WhatIf* self, const std::string& policy, std::uint64_t cap_rows, double low_watermark, double half_life_s,
             std::uint32_t ttl_s, std::uint32_t min_count) {
            new (self) WhatIf(what_if_of(policy, cap_rows, low_watermark, half_life_s, ttl_s, min_count));
          },
          nb::kw_only(), nb::arg("policy"), nb::arg("cap_rows") = 0, nb::arg("low_watermark") = 0.9,
          nb::arg("half_life_s") = 0.0, nb::arg("ttl_s") = 0, nb::arg("min_count") = 0);
  nb::class_<SimulatedPolicy>(m, "SimulatedPolicy")
      .def_ro("pulls", &SimulatedPolicy::pulls)
      .def_ro("pull_hits", &SimulatedPolicy::pull_hits)
      .def_ro("pushes", &SimulatedPolicy::pushes)
      .def_ro("push_hits", &SimulatedPolicy::push_hits)
      .def_ro("live_pull_hits", &SimulatedPolicy::live_pull_hits)
      .def_ro("live_push_hits", &SimulatedPolicy::live_push_hits)
      .def_ro("regretted", &SimulatedPolicy::regretted)
      .def_ro("evicted", &SimulatedPolicy::evicted)
      .def_ro("all_pulls", &SimulatedPolicy::all_pulls)
      .def_ro("all_pushes", &SimulatedPolicy::all_pushes)
      .def_ro("rate", &SimulatedPolicy::rate)
      .def_ro("rows_at_end", &SimulatedPolicy::rows_at_end)
      .def_ro("counted_s", &SimulatedPolicy::counted_s)
      .def_ro("rows_kept_now", &SimulatedPolicy::rows_kept_now);
  nb::class_<Simulated>(m, "Simulated")
      .def_ro("rows", &Simulated::rows)
      .def_ro("accesses", &Simulated::accesses)
      .def_ro("rate", &Simulated::rate)
      .def_ro("sampled_s", &Simulated::sampled_s)
      .def_ro("policies", &Simulated::policies);
  const auto now = nb::arg("now");
  table.def("simulate", simulate, nb::arg("what_ifs"), nb::kw_only(), now)
      .def("histogram", histogram, nb::kw_only(), now)
      .def("standing", standing, nb::arg("key"), nb::kw_only(), nb::arg("score"), now)
      .def("seen", &RowTable::seen, nb::arg("key"), nb::call_guard<Release>())
      .def(
          "set_sample_bytes",
          [](RowTable& self, std::uint64_t bytes) {
            const Release nogil;
            self.access_sample().set_capacity(bytes / sizeof(Access));
          },
          nb::arg("size"))
      .def("access_sample", access_sample);
}

}  // namespace rowbank::python
