// ColdRows: which evicted rows the cold store has. Signatures and contracts are documented in _core.pyi.
#include "cold_rows.h"

#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.h"
#include "bind.h"

namespace rowbank::python {
namespace {

using Release = nb::gil_scoped_release;

const std::uint64_t* stamps_of(const InArray& array, std::size_t rows) {
  if (array.ndim() != 1 || array.shape(0) != rows || array.dtype() != nb::dtype<std::uint64_t>()) {
    throw std::invalid_argument("stamps: expected a uint64 array of " + std::to_string(rows) + " numbers");
  }
  return static_cast<const std::uint64_t*>(array.data());
}

std::uint8_t slot_of(std::uint32_t slot) {
  if (slot >= cold::kSlots) {
    throw std::invalid_argument("slot: expected below " + std::to_string(cold::kSlots) + ", got " +
                                std::to_string(slot));
  }
  return static_cast<std::uint8_t>(slot);
}

std::uint64_t evicted(ColdRows& rows, const InArray& keys, const nb::bytes& packed, std::uint64_t stamp) {
  const KeySpan span = keys_of(keys);
  if (packed.size() != span.size * rows.row_bytes()) {
    throw std::invalid_argument("packed: expected " + std::to_string(span.size * rows.row_bytes()) + " bytes, got " +
                                std::to_string(packed.size()));
  }
  const Release nogil;
  return rows.evicted(span, packed.c_str(), stamp);
}

nb::tuple find(ColdRows& rows, const InArray& keys) {
  const KeySpan span = keys_of(keys);
  ColdFound found;
  {
    const Release nogil;
    found = rows.find(span);
  }
  const std::size_t count = found.at.size();
  return nb::make_tuple(owned_array(std::move(found.at), {count}), owned_array(std::move(found.stamps), {count}),
                        owned_array(std::move(found.places), {count}));
}

nb::object hold(ColdRows& rows, const InArray& keys, const InArray& stamps) {
  const KeySpan span = keys_of(keys);
  std::vector<std::uint8_t> held(span.size);
  rows.hold(span, stamps_of(stamps, span.size), held.data());
  return owned_array(std::move(held), {span.size});
}

nb::bytes waiting_row(ColdRows& rows, std::int64_t key) {
  const std::vector<char> row = rows.waiting_row(key);
  return nb::bytes(row.data(), row.size());
}

nb::tuple take_deletes(ColdRows& rows) {
  ColdDeletes taken = rows.take_deletes();
  const std::size_t count = taken.keys.size();
  return nb::make_tuple(owned_array(std::move(taken.keys), {count}), owned_array(std::move(taken.slots), {count}));
}

nb::tuple waiting(ColdRows& rows, std::size_t limit) {
  ColdWaiting found = rows.waiting(limit);
  const std::size_t count = found.keys.size();
  return nb::make_tuple(owned_array(std::move(found.keys), {count}), owned_array(std::move(found.stamps), {count}),
                        nb::bytes(found.fields.data(), found.fields.size()));
}

nb::tuple counts(ColdRows& rows) {
  const ColdCounts found = rows.counts();
  nb::list slots;
  for (const std::uint64_t count : found.slots) {
    slots.append(count);
  }
  return nb::make_tuple(slots, found.waiting, found.map_bytes);
}

}  // namespace

void bind_cold_rows(nb::module_& m) {
  const auto keys = nb::arg("keys").noconvert();
  const auto stamps = nb::arg("stamps").noconvert();
  m.attr("COLD_SLOTS") = static_cast<int>(cold::kSlots);
  m.attr("COLD_WAITING") = static_cast<int>(cold::kWaiting);
  nb::class_<ColdRows>(m, "ColdRows")
      .def(nb::init<std::size_t, std::size_t>(), nb::arg("row_bytes"), nb::arg("max_waiting_bytes"))
      .def("evicted", evicted, keys, nb::arg("packed"), nb::arg("stamp"))
      .def(
          "evicted_elsewhere",
          [](ColdRows& rows, const InArray& array, std::uint64_t stamp) {
            rows.evicted_elsewhere(keys_of(array), stamp);
          },
          keys, nb::arg("stamp"))
      .def(
          "forget", [](ColdRows& rows, const InArray& array) { return rows.forget(keys_of(array)); }, keys)
      .def("clear", &ColdRows::clear, nb::arg("listed"))
      .def("find", find, keys)
      .def("hold", hold, keys, stamps)
      .def("waiting_row", waiting_row, nb::arg("key"))
      .def(
          "confirm",
          [](ColdRows& rows, std::int64_t key, std::uint64_t stamp, std::uint32_t slot) {
            return rows.confirm(key, stamp, slot_of(slot));
          },
          nb::arg("key"), nb::arg("stamp"), nb::arg("slot"))
      .def(
          "lost",
          [](ColdRows& rows, const InArray& array, const InArray& stamps) {
            const KeySpan span = keys_of(array);
            return rows.lost(span, stamps_of(stamps, span.size));
          },
          keys, stamps)
      .def_prop_ro("listing", &ColdRows::listing)
      .def_prop_ro("listed", &ColdRows::listed)
      .def(
          "list",
          [](ColdRows& rows, const InArray& array, std::uint32_t slot, std::uint64_t listing) {
            rows.list(keys_of(array), slot_of(slot), listing);
          },
          keys, nb::arg("slot"), nb::arg("listing"))
      .def(
          "list_stale",
          [](ColdRows& rows, const InArray& array, std::uint32_t slot) {
            rows.list_stale(keys_of(array), slot_of(slot));
          },
          keys, nb::arg("slot"))
      .def("finish_listing", &ColdRows::finish_listing, nb::arg("listing"))
      .def("take_deletes", take_deletes)
      .def("waiting", waiting, nb::arg("limit"))
      .def(
          "correct",
          [](ColdRows& rows, const InArray& array, const InArray& stamps, const nb::bytes& packed) {
            const KeySpan span = keys_of(array);
            if (packed.size() != span.size * rows.row_bytes()) {
              throw std::invalid_argument("packed: expected " + std::to_string(span.size * rows.row_bytes()) +
                                          " bytes, got " + std::to_string(packed.size()));
            }
            rows.correct(span, stamps_of(stamps, span.size), packed.c_str());
          },
          keys, stamps, nb::arg("packed"))
      .def(
          "written",
          [](ColdRows& rows, const InArray& array, const InArray& stamps, std::uint32_t slot) {
            const KeySpan span = keys_of(array);
            rows.written(span, stamps_of(stamps, span.size), slot_of(slot));
          },
          keys, stamps, nb::arg("slot"))
      .def(
          "drop_slot", [](ColdRows& rows, std::uint32_t slot) { return rows.drop_slot(slot_of(slot)); },
          nb::arg("slot"))
      .def("put_aside", &ColdRows::put_aside)
      .def("settle", &ColdRows::settle)
      .def("unsettle", &ColdRows::unsettle)
      .def("counts", counts);
}

}  // namespace rowbank::python
