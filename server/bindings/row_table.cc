// Python's RowTable and the reports it returns.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.h"
#include "bind.h"
#include "reports.h"

namespace rowbank::python {
namespace {

using Release = nb::gil_scoped_release;

Admission admission_of(const std::string& admission) {
  if (admission == "by_count") return Admission::kByCount;
  if (admission == "own") return Admission::kOwn;
  if (admission == "common") return Admission::kCommon;
  throw std::invalid_argument("admission must be 'by_count', 'own' or 'common', got '" + admission + "'");
}

std::uint32_t min_count_of(std::int64_t min_count) {
  if (min_count < 0 || min_count > 0xFFFFFFFFLL) {
    throw std::invalid_argument("min_count must be in 0..255, got " + std::to_string(min_count));
  }
  return static_cast<std::uint32_t>(min_count);
}

TableOptions options_of(std::string name, std::int64_t dim, const std::string& value_dtype, std::int64_t bucket_count,
                        double half_life_s, bool track_reads, std::int64_t min_count, std::int64_t admission_window,
                        std::int64_t regret_window_s) {
  if (dim < 0) throw std::invalid_argument("dim must be in 1..4096, got " + std::to_string(dim));
  if (bucket_count < 0 || bucket_count > 0xFFFFFFFFLL) {
    throw std::invalid_argument("bucket_count must be in 1..65536, got " + std::to_string(bucket_count));
  }
  TableOptions options;
  options.name = std::move(name);
  options.dim = static_cast<std::size_t>(dim);
  options.value_dtype = parse_dtype(value_dtype);
  options.bucket_count = static_cast<std::uint32_t>(bucket_count);
  options.half_life_s = half_life_s;
  options.track_reads = track_reads;
  options.min_count = min_count_of(min_count);
  if (admission_window < 1 || admission_window > (std::int64_t{1} << 32)) {
    throw std::invalid_argument("admission_window must be in 1..2^32, got " + std::to_string(admission_window));
  }
  options.admission_window = static_cast<std::size_t>(admission_window);
  if (regret_window_s < 0 || regret_window_s > 0xFFFFFFFFLL) {
    throw std::invalid_argument("regret_window_s must be in 0..2^32 - 1, got " + std::to_string(regret_window_s));
  }
  options.regret_window_s = static_cast<std::uint32_t>(regret_window_s);
  return options;
}

void construct(RowTable* self, std::string name, std::int64_t dim, const std::string& value_dtype,
               const Initializer& initializer, const Optimizer& optimizer, std::int64_t bucket_count,
               double half_life_s, bool track_reads, std::int64_t min_count, std::int64_t admission_window,
               std::int64_t regret_window_s) {
  new (self) RowTable(options_of(std::move(name), dim, value_dtype, bucket_count, half_life_s, track_reads, min_count,
                                 admission_window, regret_window_s),
                      initializer, optimizer);
}

void pull(RowTable& table, const InArray& keys, const OutArray& out, const OutArray& status, std::int64_t now) {
  const KeySpan span = keys_of(keys);
  const ValuesOut values = out_values_of(out, "out", span.size, table.layout().dim);
  std::uint8_t* flags = out_flags_of(status, "status", span.size);
  const std::uint32_t now_s = seconds_of(now);
  const Release nogil;
  table.pull(span, values, flags, now_s);
}

void lookup(const RowTable& table, const InArray& keys, const OutArray& out, const OutArray& found,
            const std::optional<OutArray>& frequency, const std::optional<OutArray>& last_used,
            const std::optional<OutArray>& positions) {
  const KeySpan span = keys_of(keys);
  const ValuesOut values = out_values_of(out, "out", span.size, table.layout().dim);
  std::uint8_t* flags = out_flags_of(found, "found", span.size);
  std::uint32_t* frequencies = out_counts_of(frequency, "frequency", span.size);
  std::uint32_t* times = out_counts_of(last_used, "last_used", span.size);
  std::uint64_t* seen = out_positions_of(positions, "positions", span.size);
  const Release nogil;
  table.lookup(span, values, flags, frequencies, times, seen);
}

PushCounts push(RowTable& table, const InArray& keys, const InArray& gradients, const std::optional<InArray>& counts,
                std::uint64_t step, std::int64_t now, std::uint64_t position, std::optional<float> learning_rate,
                std::optional<float> clip_value, std::optional<float> max_norm, const std::string& admission) {
  const KeySpan span = keys_of(keys);
  const ValuesIn values = values_of(gradients, "gradients", span.size, table.layout().dim);
  const std::uint32_t* occurrences = counts_of(counts, "counts", span.size);
  PushRequest request;
  request.step = step;
  request.now = seconds_of(now);
  request.position = position_of(position);
  request.overrides = {learning_rate, clip_value, max_norm};
  request.admission = admission_of(admission);
  const Release nogil;
  return table.push(span, values, occurrences, request);
}

std::uint64_t upsert(RowTable& table, const InArray& keys, const InArray& values, std::int64_t now,
                     std::uint64_t position, bool touch) {
  const KeySpan span = keys_of(keys);
  const ValuesIn rows = values_of(values, "values", span.size, table.layout().dim);
  const std::uint32_t now_s = seconds_of(now);
  position_of(position);
  const Release nogil;
  return table.upsert(span, rows, now_s, position, touch);
}

std::uint64_t accumulate(RowTable& table, const InArray& keys, const InArray& deltas, const InArray& exists,
                         std::int64_t now, std::uint64_t position, bool touch) {
  const KeySpan span = keys_of(keys);
  const ValuesIn rows = values_of(deltas, "deltas", span.size, table.layout().dim);
  const std::uint8_t* flags = flags_of(exists, "exists", span.size);
  const std::uint32_t now_s = seconds_of(now);
  position_of(position);
  const Release nogil;
  return table.accumulate(span, rows, flags, now_s, position, touch);
}

std::uint64_t touch(RowTable& table, const InArray& keys, const std::optional<InArray>& counts, std::int64_t now,
                    std::uint64_t position) {
  const KeySpan span = keys_of(keys);
  const std::uint32_t* occurrences = counts_of(counts, "counts", span.size);
  const std::uint32_t now_s = seconds_of(now);
  position_of(position);
  const Release nogil;
  return table.touch(span, occurrences, now_s, position);
}

std::uint64_t import_rows(RowTable& table, const InArray& keys, const InArray& values,
                          const std::optional<InArray>& frequency, const std::optional<InArray>& last_used,
                          const std::optional<InArray>& slots, std::int64_t now, std::uint64_t position) {
  const KeySpan span = keys_of(keys);
  ImportColumns columns;
  columns.values = floats_of(values, "values", span.size, table.layout().dim);
  columns.frequency = counts_of(frequency, "frequency", span.size);
  columns.last_used = counts_of(last_used, "last_used", span.size);
  if (slots) {
    columns.slots = floats_of(*slots, "slots", span.size, table.layout().slot_width);
  }
  const std::uint32_t now_s = seconds_of(now);
  position_of(position);
  const Release nogil;
  return table.import_rows(span, columns, now_s, position);
}

nb::object positions(const RowTable& table, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint64_t> out(span.size);
  {
    const Release nogil;
    table.positions(span, out.data());
  }
  return owned_array(std::move(out), {span.size});
}

nb::object frequencies(const RowTable& table, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint32_t> out(span.size);
  {
    const Release nogil;
    table.frequencies(span, out.data());
  }
  return owned_array(std::move(out), {span.size});
}

nb::tuple usage(const RowTable& table, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint8_t> found(span.size);
  std::vector<std::uint32_t> frequency(span.size);
  std::vector<std::uint32_t> last_used(span.size);
  {
    const Release nogil;
    table.usage(span, found.data(), frequency.data(), last_used.data());
  }
  return nb::make_tuple(owned_array(std::move(found), {span.size}), owned_array(std::move(frequency), {span.size}),
                        owned_array(std::move(last_used), {span.size}));
}

nb::object contains(const RowTable& table, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint8_t> found(span.size);
  {
    const Release nogil;
    table.contains(span, found.data());
  }
  return owned_array(std::move(found), {span.size});
}

PyExportedRows exported(const RowTable& table, ExportedRows rows, bool with_slots) {
  const std::size_t count = rows.keys.size();
  PyExportedRows result;
  result.keys = owned_array(std::move(rows.keys), {count});
  result.values = owned_array(std::move(rows.values), {count, table.layout().dim});
  result.frequency = owned_array(std::move(rows.frequency), {count});
  result.last_used = owned_array(std::move(rows.last_used), {count});
  result.slots =
      with_slots ? owned_array(std::move(rows.slots), {count, table.layout().slot_width}) : nb::object(nb::none());
  return result;
}

PyExportedRows export_bucket(const RowTable& table, std::uint32_t bucket, bool with_slots) {
  ExportedRows rows;
  {
    const Release nogil;
    rows = table.export_bucket(bucket, with_slots);
  }
  return exported(table, std::move(rows), with_slots);
}

PyExportedRows export_frozen(RowTable& table, std::uint32_t bucket, bool with_slots) {
  ExportedRows rows;
  {
    const Release nogil;
    rows = table.export_frozen(bucket, with_slots);
  }
  return exported(table, std::move(rows), with_slots);
}

RestrictRequest restrict_request(std::uint64_t num_reserved, std::uint64_t trigger, const std::string& score,
                                 std::int64_t now, std::size_t sample) {
  return {num_reserved, trigger, score_of(score), seconds_of(now), sample};
}

PyRestrictReport python_report(RestrictReport&& report) {
  const std::size_t sampled = report.sample_keys.size();
  const std::size_t evicted = report.gone.keys.size();
  const std::size_t packed = report.gone.packed_keys.size();
  return {report.rows_before,
          report.rows_after,
          report.evicted,
          report.bytes,
          report.score_cut,
          owned_array(std::move(report.sample_keys), {sampled}),
          owned_array(std::move(report.gone.keys), {evicted}),
          owned_array(std::move(report.gone.frequency), {evicted}),
          owned_array(std::move(report.gone.last_used), {evicted}),
          owned_array(std::move(report.gone.packed_keys), {packed}),
          nb::bytes(report.gone.packed.data(), report.gone.packed.size())};
}

PyRestrictReport restrict_rows(RowTable& table, std::uint64_t num_reserved, std::uint64_t trigger,
                               const std::string& score, std::int64_t now, std::size_t sample) {
  const RestrictRequest request = restrict_request(num_reserved, trigger, score, now, sample);
  RestrictReport report;
  {
    const Release nogil;
    report = table.restrict_rows(request);
  }
  return python_report(std::move(report));
}

PyRestrictReport preview_restrict(const RowTable& table, std::uint64_t num_reserved, std::uint64_t trigger,
                                  const std::string& score, std::int64_t now, std::size_t sample) {
  const RestrictRequest request = restrict_request(num_reserved, trigger, score, now, sample);
  RestrictReport report;
  {
    const Release nogil;
    report = table.preview_restrict(request);
  }
  return python_report(std::move(report));
}

PyRanks ranks_of(const RowTable& table, const std::string& score, std::int64_t now, std::size_t limit,
                 std::optional<std::pair<std::uint64_t, std::uint64_t>> low,
                 std::optional<std::pair<std::uint64_t, std::uint64_t>> high) {
  const auto place = [](const auto& pair) {
    return pair ? std::optional(Place{pair->first, pair->second}) : std::nullopt;
  };
  const RanksRequest request{score_of(score), seconds_of(now), place(low), place(high), limit};
  Ranks ranks;
  {
    const Release nogil;
    ranks = table.ranks(request);
  }
  const std::size_t count = ranks.lots.size();
  return {ranks.rows, ranks.below, ranks.within, owned_array(std::move(ranks.standings), {count}),
          owned_array(std::move(ranks.lots), {count})};
}

nb::object describe(const RowTable& table, std::int64_t key) {
  std::optional<RowDescription> row = table.describe(key);
  if (!row) {
    return nb::none();
  }
  const std::size_t width = row->slots.size();
  const std::size_t dim = row->values.size();
  return nb::cast(PyRowDescription{key, row->bucket, row->frequency, row->last_used, row->position, row->dirty,
                                   owned_array(std::move(row->values), {dim}),
                                   owned_array(std::move(row->slots), {width})});
}

nb::tuple top(const RowTable& table, std::size_t limit, const std::string& score, std::int64_t now) {
  const Score by = score_of(score);
  const std::uint32_t now_s = seconds_of(now);
  TopRows rows;
  {
    const Release nogil;
    rows = table.top(limit, by, now_s);
  }
  const std::size_t count = rows.keys.size();
  return nb::make_tuple(owned_array(std::move(rows.keys), {count}), owned_array(std::move(rows.frequency), {count}),
                        owned_array(std::move(rows.last_used), {count}));
}

CycleReport evict_cycle(RowTable& table, std::uint64_t max_rows, std::uint64_t max_bytes, double low_watermark,
                        const std::string& policy, std::int64_t now, double budget_ms) {
  const CycleRequest request{max_rows, max_bytes, low_watermark, policy_of(policy), seconds_of(now), budget_ms};
  const Release nogil;
  return table.evict_cycle(request);
}

CycleReport expire(RowTable& table, double ttl_s, std::int64_t now, double budget_ms) {
  if (!(ttl_s > 0 && ttl_s <= 4294967295.0)) {
    throw std::invalid_argument("ttl_s must be above 0 and below 2^32, got " + std::to_string(ttl_s));
  }
  const std::uint32_t now_s = seconds_of(now);
  const Release nogil;
  return table.expire(static_cast<std::uint32_t>(std::ceil(ttl_s)), now_s, budget_ms);
}

}  // namespace

void bind_row_table(nb::module_& m) {
  bind_reports(m);
  const auto keys = nb::arg("keys").noconvert();
  const auto now = nb::arg("now");
  const auto position = nb::arg("position") = 0;
  auto table = nb::class_<RowTable>(m, "RowTable");
  table
      .def("__init__", construct, nb::kw_only(), nb::arg("name"), nb::arg("dim"), nb::arg("value_dtype"),
           nb::arg("initializer"), nb::arg("optimizer"), nb::arg("bucket_count") = 256, nb::arg("half_life_s") = 0.0,
           nb::arg("track_reads") = false, nb::arg("min_count") = 0, nb::arg("admission_window") = 1 << 20,
           nb::arg("regret_window_s") = 3600)
      .def_prop_ro("name", [](const RowTable& t) { return t.options().name; })
      .def_prop_ro("dim", [](const RowTable& t) { return t.options().dim; })
      .def_prop_ro("value_dtype", [](const RowTable& t) { return std::string(dtype_name(t.options().value_dtype)); })
      .def_prop_ro("bucket_count", [](const RowTable& t) { return t.options().bucket_count; })
      .def_prop_ro("slot_names", &RowTable::slot_names)
      .def_prop_ro("slot_width", [](const RowTable& t) { return t.layout().slot_width; })
      .def_prop_ro("packed_row_bytes", &RowTable::packed_row_bytes)
      .def("pull", pull, keys, nb::arg("out").noconvert(), nb::arg("status").noconvert(), nb::kw_only(), now)
      .def("lookup", lookup, keys, nb::arg("out").noconvert(), nb::arg("found").noconvert(), nb::kw_only(),
           nb::arg("frequency").noconvert() = nb::none(), nb::arg("last_used").noconvert() = nb::none(),
           nb::arg("positions").noconvert() = nb::none())
      .def("contains", contains, keys)
      .def("usage", usage, keys)
      .def("frequencies", frequencies, keys)
      .def("push", push, keys, nb::arg("gradients").noconvert(), nb::arg("counts").noconvert() = nb::none(),
           nb::kw_only(), nb::arg("step"), now, position, nb::arg("learning_rate") = nb::none(),
           nb::arg("clip_value") = nb::none(), nb::arg("max_norm") = nb::none(), nb::arg("admission") = "by_count")
      .def("upsert", upsert, keys, nb::arg("values").noconvert(), nb::kw_only(), now, position,
           nb::arg("touch") = false)
      .def("accumulate", accumulate, keys, nb::arg("deltas").noconvert(), nb::arg("exists").noconvert(), nb::kw_only(),
           now, position, nb::arg("touch") = false)
      .def("touch", touch, keys, nb::arg("counts").noconvert() = nb::none(), nb::kw_only(), now, position)
      .def("positions", positions, keys)
      .def(
          "remove",
          [](RowTable& table, const InArray& array) {
            const KeySpan span = keys_of(array);
            const Release nogil;
            return table.remove(span);
          },
          keys)
      .def("clear", &RowTable::clear, nb::call_guard<Release>())
      .def("size", &RowTable::size, nb::call_guard<Release>())
      .def("bytes", &RowTable::bytes, nb::call_guard<Release>())
      .def("dirty_rows", &RowTable::dirty_rows, nb::call_guard<Release>())
      .def("dirty_buckets", &RowTable::dirty_buckets, nb::call_guard<Release>())
      .def("import_rows", import_rows, keys, nb::arg("values").noconvert(),
           nb::arg("frequency").noconvert() = nb::none(), nb::arg("last_used").noconvert() = nb::none(),
           nb::arg("slots").noconvert() = nb::none(), nb::kw_only(), now, position)
      .def("export_bucket", export_bucket, nb::arg("bucket"), nb::kw_only(), nb::arg("with_slots") = false)
      .def("freeze", &RowTable::freeze, nb::call_guard<Release>())
      .def("export_frozen", export_frozen, nb::arg("bucket"), nb::kw_only(), nb::arg("with_slots") = false)
      .def("thaw", &RowTable::thaw, nb::call_guard<Release>())
      .def("restrict", restrict_rows, nb::arg("num_reserved"), nb::arg("trigger"), nb::kw_only(), nb::arg("score"), now,
           nb::arg("sample") = 0)
      .def("preview_restrict", preview_restrict, nb::arg("num_reserved"), nb::arg("trigger"), nb::kw_only(),
           nb::arg("score"), now, nb::arg("sample") = 0)
      .def("ranks", ranks_of, nb::kw_only(), nb::arg("score"), now, nb::arg("limit"), nb::arg("low") = nb::none(),
           nb::arg("high") = nb::none())
      .def("describe", describe, nb::arg("key"))
      .def(
          "initial_value",
          [](const RowTable& table, std::int64_t key) {
            return owned_array(table.initial_value(key), {table.layout().dim});
          },
          nb::arg("key"))
      .def("top", top, nb::arg("limit"), nb::kw_only(), nb::arg("score"), now)
      .def("evict_cycle", evict_cycle, nb::kw_only(), nb::arg("max_rows") = 0, nb::arg("max_bytes") = 0,
           nb::arg("low_watermark") = 0.9, nb::arg("policy"), now, nb::arg("budget_ms"))
      .def("expire", expire, nb::kw_only(), nb::arg("ttl_s"), now, nb::arg("budget_ms"))
      .def_prop_ro("row_bytes", &RowTable::row_bytes)
      .def("growth_bytes", &RowTable::growth_bytes, nb::arg("rows"))
      .def("stats", &RowTable::stats)
      .def(
          "set_min_count",
          [](RowTable& table, std::int64_t min_count) { table.set_min_count(min_count_of(min_count)); },
          nb::arg("min_count"))
      .def("set_hyperparameters", &RowTable::set_hyperparameters, nb::arg("optimizer"));
  bind_stored_rows(table);
  bind_insight(m, table);
}

}  // namespace rowbank::python
