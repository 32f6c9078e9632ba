#include "flat_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rowbank {
namespace {

constexpr std::size_t kChunkBlocks = 32;  // 512 items: their codes stay in the cache for all queries of a batch.
// Of how many positions at most one may be eligible for their float vectors to be scored alone. A scan costs a query
// less the more queries share the reading of the codes; measured at 1 M x 64 with 1 to 16 queries.
std::size_t direct_share(std::size_t queries) {
  return 12 + 2 * std::min<std::size_t>(queries, 18);
}

void list(std::size_t block, unsigned excluded, std::uint32_t* blocks, std::uint16_t* bits, std::size_t& count) {
  if (excluded == 0xFFFF) return;
  blocks[count] = static_cast<std::uint32_t>(block);
  bits[count++] = static_cast<std::uint16_t>(excluded);
}

}  // namespace

// The blocks of a chunk that hold somebody eligible for one query, with what goes with them.
struct FlatIndex::Chunk {
  std::uint32_t blocks[kChunkBlocks];
  std::uint16_t excluded[kChunkBlocks];
  float bonus[kChunkBlocks * kScanBlock];
  std::size_t count;

  bool same_blocks(const Chunk& other) const {
    return count == other.count && std::memcmp(blocks, other.blocks, count * sizeof(blocks[0])) == 0;
  }

  void list_blocks(const std::uint8_t* exclude, std::size_t size, std::size_t first, std::size_t here) {
    count = 0;
    const std::size_t end = first + here;
    std::size_t block = first;
    if (exclude != nullptr) {
      for (; block + 4 <= end && 16 * (block + 4) <= size; block += 4) {
        std::uint64_t word = 0;
        std::memcpy(&word, exclude + 2 * block, 8);
        for (std::size_t i = 0; i < 4; ++i) {
          list(block + i, static_cast<unsigned>(word >> (16 * i)) & 0xFFFFU, blocks, excluded, count);
        }
      }
    }
    for (; block < end; ++block) {
      unsigned bits = 0;
      if (exclude != nullptr) {
        // A caller's bitmap may end after the first byte of the last block.
        const bool both = 16 * block + 8 < size;
        bits = exclude[2 * block] | (both ? static_cast<unsigned>(exclude[2 * block + 1]) << 8 : 0xFF00U);
      }
      list(block, bits, blocks, excluded, count);
    }
  }

  void list_bonus(const float* added, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t first = static_cast<std::size_t>(blocks[i]) * kScanBlock;
      const std::size_t here = std::min(kScanBlock, size - first);
      float* out = bonus + i * kScanBlock;
      std::copy(added + first, added + first + here, out);
      std::fill(out + here, out + kScanBlock, 0.0F);
    }
  }
};

FlatIndex::FlatIndex(const float* vectors, std::size_t size, std::size_t dim, const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel) {
  check_vector_shape(size, dim);
  copied_.assign(vectors, vectors + size * dim);
  vectors_ = copied_.data();
  encoded_ = encode_vectors(vectors_, dim_, nullptr, size_);
  arrays_ = encoded_.arrays();
}

FlatIndex::FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                     const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel), owner_(std::move(owner)), vectors_(vectors) {
  check_vector_shape(size, dim);
  encoded_ = encode_vectors(vectors_, dim_, nullptr, size_);
  arrays_ = encoded_.arrays();
}

FlatIndex::FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                     const CodeArrays& arrays, const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel), owner_(std::move(owner)), vectors_(vectors), arrays_(arrays) {
  check_vector_shape(size, dim);
}

std::size_t FlatIndex::bytes() const {
  const std::size_t padded = blocks() * kScanBlock;
  return size_ * dim_ * sizeof(float) + padded * (4 * groups() + 3 * sizeof(float));
}

// Of `count` queries, at most kTogether: the codes are read once for all of them where they want the same blocks.
void FlatIndex::scan(std::size_t first_block, std::size_t blocks, TopSearch* const* queries, std::size_t count) const {
  Chunk chunks[kTogether];
  const std::int8_t* codes[kTogether];
  bool alike = count == kTogether;
  for (std::size_t i = 0; i < count; ++i) {
    chunks[i].list_blocks(queries[i]->exclude(), size_, first_block, blocks);
    if (queries[i]->bonus() != nullptr) chunks[i].list_bonus(queries[i]->bonus(), size_);
    codes[i] = queries[i]->codes();
    alike = alike && chunks[i].same_blocks(chunks[0]);
  }
  std::int32_t dots[kTogether * kChunkBlocks * kScanBlock];
  if (alike) kernel_->dot_together(arrays_.codes, chunks[0].blocks, chunks[0].count, groups(), codes, dots);
  for (std::size_t i = 0; i < count; ++i) {
    const Chunk& chunk = chunks[i];
    std::int32_t* mine = dots + i * chunk.count * kScanBlock;
    if (!alike) kernel_->dot(arrays_.codes, chunk.blocks, chunk.count, groups(), codes[i], mine = dots);
    take(chunk, mine, *queries[i]);
  }
}

// Offers a query what of a chunk may be among its best.
void FlatIndex::take(const Chunk& chunk, const std::int32_t* dots, TopSearch& query) const {
  std::uint32_t hits[kChunkBlocks * kScanBlock];
  const ListedBlocks listed{chunk.blocks, chunk.count, query.exclude() == nullptr ? nullptr : chunk.excluded,
                            query.bonus() == nullptr ? nullptr : chunk.bonus};
  const ItemColumns& items = arrays_.items;
  const std::size_t count = kernel_->filter(dots, listed, items, query.bounds(), query.threshold(), hits);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t at = hits[i];
    const std::size_t item = static_cast<std::size_t>(chunk.blocks[at / kScanBlock]) * kScanBlock + at % kScanBlock;
    if (item >= size_) continue;  // Padding of the last block.
    const ScoreRange range = listed.bonus == nullptr ? score_range(dots[at], items.scale[item], items.error[item],
                                                                   items.norm[item], query.bounds())
                                                     : score_range(dots[at], items.scale[item], items.error[item],
                                                                   items.norm[item], query.bounds(), listed.bonus[at]);
    if (range.upper < query.threshold()) continue;  // The threshold rose within this chunk.
    query.offer(static_cast<std::uint32_t>(item), range);
  }
}

void FlatIndex::search(const SearchRequest& request, std::int64_t* positions, float* scores) const {
  check_bonus(request, size_);
  const ScoredVectors items{vectors_, size_, dim_};
  std::vector<TopSearch> queries;
  queries.reserve(request.count);
  for (std::size_t i = 0; i < request.count; ++i) queries.emplace_back(request, i, items, *kernel_);
  std::vector<TopSearch*> scanned;
  for (TopSearch& query : queries) {
    if (request.k == 0) continue;
    if (query.exclude() != nullptr && query.eligible() <= size_ / direct_share(request.count)) {
      query.score_eligible();
    } else {
      scanned.push_back(&query);
    }
  }
  const std::size_t blocks = scanned.empty() ? 0 : this->blocks();
  for (std::size_t first = 0; first < blocks; first += kChunkBlocks) {
    const std::size_t here = std::min(kChunkBlocks, blocks - first);
    for (std::size_t i = 0; i < scanned.size(); i += kTogether) {
      scan(first, here, scanned.data() + i, std::min(kTogether, scanned.size() - i));
    }
  }
  const std::size_t k = request.k;
  for (std::size_t i = 0; i < request.count; ++i) queries[i].finish(k, positions + i * k, scores + i * k);
}

void search_vectors(const float* vectors, std::size_t size, std::size_t dim, const SearchRequest& request,
                    std::int64_t* positions, float* scores) {
  check_bonus(request, size);
  const ScoredVectors items{vectors, size, dim};
  for (std::size_t i = 0; i < request.count; ++i) {
    TopSearch query(request, i, items, scan_kernel());
    if (request.k != 0) query.score_eligible();
    query.finish(request.k, positions + i * request.k, scores + i * request.k);
  }
}

}  // namespace rowbank
