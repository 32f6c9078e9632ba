#include "feature_values.h"

#include <cstring>
#include <optional>
#include <utility>

#include "hash.h"
#include "utf8.h"

namespace rowbank {
namespace {

// Members of `Value`, as (field number << 3) | wire type.
constexpr std::uint64_t kString = 0x12, kInt32 = 0x18, kInt64 = 0x20, kDouble = 0x29, kFloat = 0x35, kBool = 0x38,
                        kUnixTime = 0x40, kStringList = 0x62, kInt32List = 0x6A, kInt64List = 0x72, kDoubleList = 0x7A,
                        kFloatList = 0x82, kUnixTimeList = 0x92, kNull = 0x98;
constexpr std::uint64_t kElements = 0x0A;  // `val` of a list's message.

class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return at_ == end_; }

  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ < end_; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(*at_++);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> sized() {
    const auto size = varint();
    if (!size || *size > static_cast<std::uint64_t>(end_ - at_)) return std::nullopt;
    const std::string_view part(at_, *size);
    at_ += *size;
    return part;
  }

  template <typename T>
  std::optional<T> fixed() {
    if (static_cast<std::size_t>(end_ - at_) < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

 private:
  const char* at_;
  const char* end_;
};

std::int64_t low_half(std::uint64_t number) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(number));
}

class Decoder {
 public:
  Decoder(FeatureKind kind, std::size_t count) : kind_(kind) {
    out_.states.reserve(count);
    out_.digests.reserve(count);
  }

  void add(std::string_view value) {
    ValueState state = ValueState::kMissing;
    if (value.data() != nullptr) {
      const auto sizes = mark();
      state = kind_ == FeatureKind::kTime ? time(value) : stored(value);
      if (state != ValueState::kThere) rewind(sizes);
    }
    if (state != ValueState::kThere) fill();
    out_.states.push_back(state);
    out_.digests.push_back(state == ValueState::kThere ? mix64(fnv1a64(value)) : 0);
    if (is_list()) out_.ends.push_back(static_cast<std::int64_t>(elements()));
  }

  FeatureValues take() { return std::move(out_); }

 private:
  struct Sizes {
    std::size_t integers, doubles, floats, bools, text, text_ends;
  };

  bool is_list() const {
    return kind_ == FeatureKind::kInt64List || kind_ == FeatureKind::kFloatList || kind_ == FeatureKind::kStringList;
  }

  std::size_t elements() const {
    if (kind_ == FeatureKind::kInt64List) return out_.integers.size();
    return kind_ == FeatureKind::kFloatList ? out_.floats.size() : out_.text_ends.size();
  }

  Sizes mark() const {
    return {out_.integers.size(), out_.doubles.size(), out_.floats.size(),
            out_.bools.size(),    out_.text.size(),    out_.text_ends.size()};
  }

  void rewind(const Sizes& sizes) {
    out_.integers.resize(sizes.integers);
    out_.doubles.resize(sizes.doubles);
    out_.floats.resize(sizes.floats);
    out_.bools.resize(sizes.bools);
    out_.text.resize(sizes.text);
    out_.text_ends.resize(sizes.text_ends);
  }

  // What stands where no value is there.
  void fill() {
    if (kind_ == FeatureKind::kInt64) out_.integers.push_back(0);
    if (kind_ == FeatureKind::kDouble || kind_ == FeatureKind::kTime) out_.doubles.push_back(0.0);
    if (kind_ == FeatureKind::kBool) out_.bools.push_back(0);
    if (kind_ == FeatureKind::kString) out_.text_ends.push_back(static_cast<std::int64_t>(out_.text.size()));
  }

  ValueState time(std::string_view value) {
    Reader in(value);
    double seconds = 0.0;
    std::uint64_t last = 0;
    while (!in.done()) {
      const auto tag = in.varint();
      const auto number = in.varint();
      if (!tag || !number || *tag <= last || (*tag != 0x08 && *tag != 0x10)) return ValueState::kOdd;
      seconds += *tag == 0x08 ? static_cast<double>(static_cast<std::int64_t>(*number))
                              : static_cast<double>(low_half(*number)) * 1e-9;
      last = *tag;
    }
    out_.doubles.push_back(seconds);
    return ValueState::kThere;
  }

  ValueState stored(std::string_view value) {
    if (value.empty()) return ValueState::kNull;
    Reader in(value);
    const auto tag = in.varint();
    if (!tag) return ValueState::kOdd;
    if (*tag == kNull) return in.varint() == 0 && in.done() ? ValueState::kNull : ValueState::kOdd;
    return read(in, *tag) && in.done() ? ValueState::kThere : ValueState::kOdd;
  }

  bool read(Reader& in, std::uint64_t member) {
    switch (kind_) {
      case FeatureKind::kInt64:
        return integer(in, member);
      case FeatureKind::kDouble:
        return number(in, member);
      case FeatureKind::kBool: {
        const auto value = member == kBool ? in.varint() : std::nullopt;
        if (value) out_.bools.push_back(*value != 0);
        return value.has_value();
      }
      case FeatureKind::kString: {
        const auto value = member == kString ? in.sized() : std::nullopt;
        return value && text(*value);
      }
      case FeatureKind::kInt64List:
        return integers(in, member);
      case FeatureKind::kFloatList:
        return floats(in, member);
      case FeatureKind::kStringList:
        return texts(in, member);
      case FeatureKind::kTime:
        return false;
    }
    return false;
  }

  bool integer(Reader& in, std::uint64_t member) {
    if (member != kInt64 && member != kInt32 && member != kUnixTime) return false;
    const auto value = in.varint();
    if (!value) return false;
    out_.integers.push_back(member == kInt32 ? low_half(*value) : static_cast<std::int64_t>(*value));
    return true;
  }

  bool number(Reader& in, std::uint64_t member) {
    if (member == kDouble) {
      const auto value = in.fixed<double>();
      if (value) out_.doubles.push_back(*value);
      return value.has_value();
    }
    const auto value = member == kFloat ? in.fixed<float>() : std::nullopt;
    if (value) out_.doubles.push_back(static_cast<double>(*value));
    return value.has_value();
  }

  bool text(std::string_view bytes) {
    if (!is_utf8(bytes)) return false;
    out_.text.insert(out_.text.end(), bytes.begin(), bytes.end());
    out_.text_ends.push_back(static_cast<std::int64_t>(out_.text.size()));
    return true;
  }

  // The packed elements of a list of numbers, or of an empty list; nothing if they lie in another way.
  static std::optional<std::string_view> packed(Reader& in) {
    const auto message = in.sized();
    if (!message || message->empty()) return message;
    Reader inner(*message);
    if (inner.varint() != kElements) return std::nullopt;
    const auto elements = inner.sized();
    return inner.done() ? elements : std::nullopt;
  }

  bool integers(Reader& in, std::uint64_t member) {
    if (member != kInt64List && member != kInt32List && member != kUnixTimeList) return false;
    const auto elements = packed(in);
    if (!elements) return false;
    Reader inner(*elements);
    while (!inner.done()) {
      const auto value = inner.varint();
      if (!value) return false;
      out_.integers.push_back(member == kInt32List ? low_half(*value) : static_cast<std::int64_t>(*value));
    }
    return true;
  }

  bool floats(Reader& in, std::uint64_t member) {
    const std::size_t width = member == kDoubleList ? sizeof(double) : sizeof(float);
    const auto elements = member == kDoubleList || member == kFloatList ? packed(in) : std::nullopt;
    if (!elements || elements->size() % width != 0) return false;
    Reader inner(*elements);
    while (!inner.done()) {
      out_.floats.push_back(width == sizeof(double) ? static_cast<float>(*inner.fixed<double>())
                                                    : *inner.fixed<float>());
    }
    return true;
  }

  bool texts(Reader& in, std::uint64_t member) {
    const auto message = member == kStringList ? in.sized() : std::nullopt;
    if (!message) return false;
    Reader inner(*message);
    while (!inner.done()) {
      if (inner.varint() != kElements) return false;
      const auto value = inner.sized();
      if (!value || !text(*value)) return false;
    }
    return true;
  }

  FeatureKind kind_;
  FeatureValues out_;
};

}  // namespace

FeatureValues decode_feature_values(const std::vector<std::string_view>& values, FeatureKind kind) {
  Decoder decoder(kind, values.size());
  for (const auto& value : values) decoder.add(value);
  return decoder.take();
}

}  // namespace rowbank
