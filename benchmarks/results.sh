#!/bin/bash
# The experiments on real imagery: does synthetic data help? Hours on two cores; run again to go on.
#
#     benchmarks/results.sh DATA WORK dubai-5|dubai-100|buildings-10
#
# DATA holds landcover_dubai/ and buildings_oam/. Can be set: STEPS of generators, which start from the shipped base, GENERATORS
# a subset, RATIO of pairs (3), THREADS, and EVALUATE, further options of geosynth evaluate.
set -euo pipefail
data=$1 work=$2 which=$3
here=$(dirname "$0")
steps=${STEPS:-1500} threads=${THREADS:-1}
run() { ${GEOSYNTH:-geosynth} "$@"; }

"${PYTHON:-python}" "$here/results_tiles.py" "$data" "$work"
cd "$work/${which%-*}"
labels=${which#*-}

# Two subsets of labels, two generators each: what comes out must not hang on one of either.
pairs=()
sets=()
for s in 0 1; do
  if [ "$labels" = 100 ]; then
    few=tiles
  else
    few=few$labels-$s
    run subset tiles --labels "$labels%" --seed $s --out "$few" --resume
    sets+=("$few")
  fi
  for g in ${GENERATORS:-0 1}; do
    model=model$labels-$s$g
    run train "$few" --from base --steps "$steps" --seed $((10 * s + g)) --threads "$threads" --out "$model" --resume
    run generate "$model" --ratio "${RATIO:-3}" --of "$few" --seed "$s$g" --out "synth$labels-$s$g" --resume
    pairs+=("synth$labels-$s$g")
  done
done
[ "$labels" = 100 ] && sets=(tiles)
arm=$(IFS=,; echo "${pairs[*]}")
read -ra options <<<"${EVALUATE:-}"
run evaluate "${sets[@]}" --arm "generated=$arm" --threads "$threads" --out "report$labels" --resume "${options[@]}"
