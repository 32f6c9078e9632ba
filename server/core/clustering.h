// k-means: centroids that item vectors are assigned to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_scan.h"

namespace rowbank {

// Centroids in a space scaled so that the longest vector has length 1, where squares neither overflow nor vanish.
struct Clusters {
  std::size_t count;
  std::size_t dim;
  double scale;                  // Of that space: vectors times this.
  std::vector<float> centroids;  // [count, dim], scaled.
};

// Trains `count` centroids by Lloyd's rounds under the Euclidean distance on a sample of the vectors [size, dim]. Under
// that distance, because with q a query, x an item and c its centroid, x.q - c.q is at most |x - c||q|: what the rounds
// make small is what a list's score can be wrong by, also where vectors differ in length. The same arguments give the
// same centroids, whatever the number of threads. Throws std::invalid_argument as encode_vector, and for no vectors or
// no or more centroids than vectors.
Clusters train_clusters(const float* vectors, std::size_t size, std::size_t dim, std::size_t count, std::uint64_t seed,
                        std::size_t threads);

// The nearest centroid of each vector, equal ones by number; [size].
std::vector<std::uint32_t> assign_clusters(const Clusters& clusters, const float* vectors, std::size_t size,
                                           std::size_t threads);

}  // namespace rowbank
