#include "clustering.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>

#include "flat_index.h"

namespace rowbank {
namespace {

constexpr std::size_t kSamplePerCentroid = 32;
constexpr std::size_t kRounds = 8;
constexpr std::size_t kBatch = 64;  // Vectors that are compared with the centroids together.

// Small, and the same with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }

 private:
  std::uint64_t state_;
};

double length_of(const float* values, std::size_t dim, std::size_t index) {
  double squares = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double value = values[i];
    if (!std::isfinite(value)) {
      throw std::invalid_argument("vector " + std::to_string(index) + " is not finite in dimension " +
                                  std::to_string(i));
    }
    squares += value * value;
  }
  const double length = std::sqrt(squares);
  if (length > 1e18) throw std::invalid_argument("vector " + std::to_string(index) + " is longer than 1e18");
  return length;
}

// `wanted` different positions below `size`, in ascending order.
std::vector<std::uint32_t> draw(std::size_t size, std::size_t wanted, Random& random) {
  std::vector<std::uint32_t> out;
  out.reserve(wanted);
  for (std::size_t i = 0; i < size && out.size() < wanted; ++i) {
    // Each of the remaining positions is taken with the chance that fills the sample evenly.
    if (random.below(size - i) < wanted - out.size()) out.push_back(static_cast<std::uint32_t>(i));
  }
  return out;
}

template <typename Body>
void in_parallel(std::size_t count, std::size_t threads, const Body& body) {
  const std::size_t parts = std::max<std::size_t>(1, std::min(threads, count / (8 * kBatch)));
  std::vector<std::thread> others;
  for (std::size_t part = 1; part < parts; ++part) {
    others.emplace_back([&, part] { body(count * part / parts, count * (part + 1) / parts); });
  }
  body(0, count / parts);
  for (std::thread& other : others) other.join();
}

// |x - c|^2 is least where x.c - |c|^2 / 2 is largest: an exact search with a bonus.
class Nearest {
 public:
  explicit Nearest(const Clusters& clusters)
      : clusters_(clusters),
        index_(nullptr, clusters.centroids.data(), clusters.count, clusters.dim),
        bonus_(clusters.count) {
    for (std::size_t i = 0; i < clusters.count; ++i) {
      const float* centroid = clusters.centroids.data() + i * clusters.dim;
      bonus_[i] = static_cast<float>(-0.5 * scan_kernel().score(centroid, centroid, clusters.dim));
    }
  }

  // Of the vectors first..last, which are scaled here; positions null: those themselves.
  void find(const float* vectors, const std::uint32_t* positions, std::size_t first, std::size_t last,
            std::uint32_t* out) const {
    const std::size_t dim = clusters_.dim;
    std::vector<float> batch(kBatch * dim);
    const std::vector<const float*> bonus(kBatch, bonus_.data());
    std::int64_t found[kBatch];
    float scores[kBatch];
    for (std::size_t start = first; start < last; start += kBatch) {
      const std::size_t here = std::min(kBatch, last - start);
      for (std::size_t i = 0; i < here; ++i) {
        const float* row = vectors + (positions == nullptr ? start + i : positions[start + i]) * dim;
        for (std::size_t j = 0; j < dim; ++j) batch[i * dim + j] = static_cast<float>(row[j] * clusters_.scale);
      }
      SearchRequest request{batch.data(), here, 1};
      request.bonus = bonus.data();
      index_.search(request, found, scores);
      for (std::size_t i = 0; i < here; ++i) out[start + i] = static_cast<std::uint32_t>(found[i]);
    }
  }

 private:
  const Clusters& clusters_;
  FlatIndex index_;
  std::vector<float> bonus_;
};

void move_to_means(const float* vectors, const std::vector<std::uint32_t>& sample,
                   const std::vector<std::uint32_t>& nearest, Clusters& clusters, Random& random) {
  const std::size_t dim = clusters.dim;
  std::vector<double> sums(clusters.count * dim, 0);
  std::vector<std::size_t> members(clusters.count, 0);
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const float* row = vectors + static_cast<std::size_t>(sample[i]) * dim;
    double* sum = sums.data() + static_cast<std::size_t>(nearest[i]) * dim;
    for (std::size_t j = 0; j < dim; ++j) sum[j] += row[j] * clusters.scale;
    ++members[nearest[i]];
  }
  for (std::size_t i = 0; i < clusters.count; ++i) {
    float* centroid = clusters.centroids.data() + i * dim;
    if (members[i] == 0) {  // Nobody's: it starts anew, where vectors are.
      const float* row = vectors + static_cast<std::size_t>(sample[random.below(sample.size())]) * dim;
      for (std::size_t j = 0; j < dim; ++j) centroid[j] = static_cast<float>(row[j] * clusters.scale);
      continue;
    }
    const double share = 1.0 / static_cast<double>(members[i]);
    for (std::size_t j = 0; j < dim; ++j) centroid[j] = static_cast<float>(sums[i * dim + j] * share);
  }
}

}  // namespace

Clusters train_clusters(const float* vectors, std::size_t size, std::size_t dim, std::size_t count, std::uint64_t seed,
                        std::size_t threads) {
  check_vector_shape(size, dim);
  if (count == 0 || count > size) {
    throw std::invalid_argument("lists must be 1 to " + std::to_string(size) + ", the number of vectors, got " +
                                std::to_string(count));
  }
  double longest = 0;
  for (std::size_t i = 0; i < size; ++i) longest = std::max(longest, length_of(vectors + i * dim, dim, i));
  Random random(seed);
  Clusters clusters{count, dim, longest > 0 ? 1 / longest : 1, std::vector<float>(count * dim)};
  const std::vector<std::uint32_t> sample = draw(size, std::min(size, kSamplePerCentroid * count), random);
  const std::vector<std::uint32_t> first = draw(sample.size(), count, random);
  for (std::size_t i = 0; i < count; ++i) {
    const float* row = vectors + static_cast<std::size_t>(sample[first[i]]) * dim;
    for (std::size_t j = 0; j < dim; ++j) clusters.centroids[i * dim + j] = static_cast<float>(row[j] * clusters.scale);
  }
  std::vector<std::uint32_t> nearest(sample.size());
  for (std::size_t round = 0; round < kRounds; ++round) {
    {
      const Nearest index(clusters);
      in_parallel(sample.size(), threads, [&](std::size_t begin, std::size_t end) {
        index.find(vectors, sample.data(), begin, end, nearest.data());
      });
    }
    move_to_means(vectors, sample, nearest, clusters, random);
  }
  return clusters;
}

std::vector<std::uint32_t> assign_clusters(const Clusters& clusters, const float* vectors, std::size_t size,
                                           std::size_t threads) {
  std::vector<std::uint32_t> out(size);
  const Nearest index(clusters);
  in_parallel(size, threads,
              [&](std::size_t begin, std::size_t end) { index.find(vectors, nullptr, begin, end, out.data()); });
  return out;
}

}  // namespace rowbank
