// Stored features of many entities, decoded a column at a time.
//
// Problem: a catalogue of a million items has many millions of values, each a small serialized message (Feast's
// `feast.types.Value`); one by one, in Python, they take minutes. Idea: almost all of them have the one form in which
// Feast and we write them, a single member and nothing else, which a few branches read. What has another form, sound or
// not, is left to the slow reader by saying so, so nothing is judged here. REQUIRES: values stay where they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rowbank {

enum class FeatureKind : std::uint8_t {
  kInt64,
  kDouble,
  kString,
  kBool,
  kInt64List,
  kFloatList,
  kStringList,
  kTime,  // A `google.protobuf.Timestamp`, as seconds in a double.
};

enum class ValueState : std::uint8_t {
  kMissing = 0,  // There is no such hash field.
  kThere = 1,
  kOdd = 2,   // Of a form that is not read here; it may be sound or not.
  kNull = 3,  // The field is there and says that there is no value.
};

// One column. Of the payload, what the kind needs is filled: a number each (0 where none is there), or, for lists, the
// elements of all of them with where each list ends; texts lie one after the other with where each of them ends.
struct FeatureValues {
  std::vector<ValueState> states;
  std::vector<std::uint64_t> digests;  // Of the stored bytes; the same for everything that is not there.
  std::vector<std::int64_t> ends;
  std::vector<std::int64_t> integers;
  std::vector<double> doubles;
  std::vector<float> floats;
  std::vector<std::uint8_t> bools;
  std::vector<std::uint8_t> text;
  std::vector<std::int64_t> text_ends;
};

// A view without data is a value that is missing.
FeatureValues decode_feature_values(const std::vector<std::string_view>& values, FeatureKind kind);

}  // namespace rowbank
