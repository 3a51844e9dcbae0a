// Trellis-coded quantisation: a state says which of two quantisers the next latent has, and each symbol moves the state.
// docs/format.md defines it. Sources: Marcellin and Fischer 1990; with entropy coding that depends on the state, and this
// way of quantising, Schwarz et al. 2019 (dependent quantisation); its eight states, JVET-Q0243.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "block.hpp"
#include "scalar.hpp"
#include "tables.hpp"

namespace intaglio {

inline constexpr std::size_t kPerChain = 2048;  // symbols of a slice, coded or not, at least
inline constexpr std::size_t kStates = 8;
// The state before each state, by the parity of the symbol between them.
inline constexpr auto kBefore = [] {
    std::array<std::array<std::uint8_t, kStates>, 2> before{};
    for (std::uint32_t state = 0; state < kStates; ++state)
        for (std::int32_t parity = 0; parity < 2; ++parity)
            before[static_cast<std::size_t>(parity)][next_state(state, parity)] = static_cast<std::uint8_t>(state);
    return before;
}();

inline constexpr float kNever = 1e30f;  // costs of a state that cannot be
inline constexpr float kMostLatent = 1 << 29;
inline constexpr std::int32_t kMostSymbol = (1 << 30) - 1;  // twice as many steps are an int32

// The symbols of even states stand for even numbers of steps, those of odd states for 0 and odd ones.
inline std::int32_t step_of(std::int32_t symbol, bool odd) {
    return 2 * symbol - (odd ? (symbol > 0) - (symbol < 0) : 0);
}

// Of a slice: each chain begins anew, so small slices have few.
inline std::size_t chain_count(std::size_t size) {
    return std::clamp<std::size_t>(std::bit_floor(size / kPerChain), 1, kMostChains);
}

// Every table below kTwin must have a twin, whose symbols are coded wherever its own are.
inline void check_twins(std::span<const std::uint8_t> rows, const Tables& tables) {
    if (tables.size() < 2 * kTwin || tables.shifted() || !tables.twins())
        throw ArgumentError("tables: a trellis needs 64 tables and their twins, no twin certain whose table is not, "
                            "and symbols of 16 bits");
    for (const std::uint8_t row : rows)
        if (row >= kTwin) throw ArgumentError("index " + std::to_string(row) + " is too large: a trellis has 64");
}

// What the encoder of a slice chooses.
struct Quantised {
    std::span<std::int32_t> symbols;
    std::span<std::uint8_t> rows;  // of the tables that they are coded with
    std::span<std::int32_t> steps;
};

// Finds the symbols of least cost, bits + `weight` (latent - step)^2, by Viterbi's algorithm in each chain.
class Trellis {
public:
    // Latents come in units of a step; `weight` is what their squared error is worth, in bits.
    Trellis(const Tables& tables, float weight) : tables_(tables), weight_(weight) {
        if (!(weight > 0.0f) || !std::isfinite(weight)) throw ArgumentError("the weight of errors must be above 0");
        check_twins({}, tables);
        near_.resize(2 * kTwin * kNear);
        for (std::size_t row = 0; row < 2 * kTwin; ++row)
            for (int symbol = -kNear / 2; symbol < kNear / 2; ++symbol)
                near_[row * kNear + static_cast<std::size_t>(symbol + kNear / 2)] = exact_bits(row, symbol);
    }

    // Larger latents count as kMostLatent. Calls from several threads do not disturb each other.
    void quantise(std::span<const float> given, std::span<const std::uint8_t> indexes, const Quantised& out) const {
        const std::size_t size = given.size();
        if (indexes.size() != size || out.symbols.size() != size || out.rows.size() != size || out.steps.size() != size)
            throw ArgumentError("latents, indexes and results differ in number");
        std::vector<float> latents(given.begin(), given.end());  // copies: what is checked must not change
        const std::vector<std::uint8_t> rows(indexes.begin(), indexes.end());
        check_twins(rows, tables_);
        if (std::ranges::any_of(latents, [](float latent) { return std::isnan(latent); }))
            throw ArgumentError("latents must be numbers");
        for (float& latent : latents) latent = std::clamp(latent, -kMostLatent, kMostLatent);
        std::vector<std::vector<std::size_t>> chains(chain_count(size));
        for (std::size_t start = 0; start < size; start += kBlock) {
            std::size_t number = 0;
            for (std::size_t place = start; place < std::min(size, start + kBlock); ++place) {
                if (!tables_.view().certain[rows[place]]) {
                    chains[number++ % chains.size()].push_back(place);
                    continue;
                }
                settle(out, place, rows[place], certain(latents[place]));
            }
        }
        std::vector<Way> ways;
        for (const auto& chain : chains) search({latents, rows}, chain, ways, out);
    }

private:
    struct Choice {
        float cost = kNever;
        std::int32_t symbol = 0;
    };

    // The symbols between two states, by the quantiser of the first and their parity; and of which parity, a bit for each
    // second state, the better way into it is.
    struct Way {
        std::array<std::array<std::int32_t, 2>, 2> symbols;
        std::uint32_t odd;
    };

    static void settle(const Quantised& out, std::size_t place, std::uint8_t row, std::int32_t symbol) {
        out.symbols[place] = symbol;
        out.rows[place] = row;
        out.steps[place] = step_of(symbol, row >= kTwin);
    }

    // A surprise takes some 15 bits and twice its logarithm.
    std::int32_t certain(float latent) const {
        const auto nearest = static_cast<std::int32_t>(std::lround(latent / 2.0f));
        const float left = latent - 2.0f * static_cast<float>(nearest);
        const float bits = 15.0f + 2.0f * std::log2(static_cast<float>(std::max(std::abs(nearest), 1)));
        return weight_ * (latent * latent - left * left) > bits ? nearest : 0;
    }

    float exact_bits(std::size_t row, std::int32_t symbol) const {
        const std::int64_t cell = tables_.cell(row, symbol);
        const std::int64_t regular = tables_.regular(row);
        const float bits = kPrecision - std::log2(static_cast<float>(tables_.frequency(row, cell)));
        if (cell < regular) return bits;
        const std::int64_t offset = symbol - tables_.first(row);
        const std::int64_t beyond = offset < 0 ? -offset : offset - regular + 1;
        return bits + 2.0f + 2.0f * std::floor(std::log2(static_cast<float>(beyond)));
    }

    float bits(std::size_t row, std::int32_t symbol) const {
        const auto near = static_cast<std::uint32_t>(symbol + kNear / 2);
        return near < kNear ? near_[row * kNear + near] : exact_bits(row, symbol);
    }

    // An escape counts as the symbol after the table's last, whatever it is.
    bool is_odd(std::size_t row, std::int32_t symbol) const {
        return (tables_.first(row) + tables_.cell(row, symbol)) & 1;
    }

    // The best symbols of one quantiser after which the state counts them as even, and as odd.
    std::array<Choice, 2> best(float latent, std::size_t row, bool odd) const {
        std::array<Choice, 2> found;
        const float half = odd ? 0.5f * (std::abs(latent) + 1.0f) : 0.5f * std::abs(latent);
        const auto below = static_cast<std::int32_t>(half);
        const std::int32_t sign = latent < 0.0f ? -1 : 1;
        for (const std::int32_t symbol : {sign * below, sign * (below + 1), 0}) {
            const float left = latent - static_cast<float>(step_of(symbol, odd));
            const float cost = weight_ * left * left + bits(row, symbol);
            Choice& choice = found[is_odd(row, symbol)];
            if (cost < choice.cost) choice = {cost, symbol};
        }
        return found;
    }

    struct Slice {
        std::span<const float> latents;
        std::span<const std::uint8_t> rows;
    };

    void search(const Slice& slice, const std::vector<std::size_t>& chain, std::vector<Way>& ways,
                const Quantised& out) const {
        ways.resize(chain.size());
        std::array<float, kStates> costs;
        costs.fill(kNever);
        costs[0] = 0.0f;
        for (std::size_t number = 0; number < chain.size(); ++number) {
            const std::size_t row = slice.rows[chain[number]];
            const float latent = slice.latents[chain[number]];
            const std::array<std::array<Choice, 2>, 2> choices{best(latent, row, false),
                                                               best(latent, row + kTwin, true)};
            ways[number] = step(choices, costs);
        }
        auto state = static_cast<std::size_t>(std::ranges::min_element(costs) - costs.begin());
        for (std::size_t number = chain.size(); number-- > 0;) {
            const std::size_t place = chain[number];
            const Way& way = ways[number];
            const std::size_t parity = way.odd >> state & 1;
            const std::size_t from = kBefore[parity][state];
            const auto row = static_cast<std::uint8_t>(slice.rows[place] | (from & 1) * kTwin);
            settle(out, place, row, way.symbols[from & 1][parity]);
            state = from;
        }
    }

    // One symbol further: `costs` become those of the states after it, less the least.
    static Way step(const std::array<std::array<Choice, 2>, 2>& choices, std::array<float, kStates>& costs) {
        std::array<float, kStates> next;
        Way way{{{{choices[0][0].symbol, choices[0][1].symbol}, {choices[1][0].symbol, choices[1][1].symbol}}}, 0};
        for (std::size_t to = 0; to < kStates; ++to) {
            const std::size_t before = kBefore[0][to];
            const std::size_t other = kBefore[1][to];
            const float even = costs[before] + choices[before & 1][0].cost;
            const float odd = costs[other] + choices[other & 1][1].cost;
            way.odd |= static_cast<std::uint32_t>(odd < even) << to;
            next[to] = std::min(even, odd);
        }
        const float least = *std::ranges::min_element(next);
        for (std::size_t state = 0; state < kStates; ++state) costs[state] = std::min(next[state] - least, kNever);
        return way;
    }

    const Tables& tables_;
    float weight_;
    std::vector<float> near_;  // bits of kNear symbols of each table
};

}  // namespace intaglio
