#!/bin/bash
# The experiments on real imagery: does synthetic data help? Hours on two cores; run again to go on.
#
#     benchmarks/results.sh DATA WORK dubai-5|dubai-100|buildings-10 [remedies]
#
# With "remedies" other uses of the same generators are compared instead: images painted for the real masks ("repainted"),
# masks made for real images, most of them without labels ("labelled"), and new pairs with equal shares of all classes
# ("balanced").
#
# DATA holds landcover_dubai/ and buildings_oam/. Can be set: STEPS of generators, which start from the shipped base,
# SUBSETS of labels by seed ("0 1"), GENERATORS a subset by seed ("0 1"), RATIO of pairs (3), THREADS, EVALUATE, further
# options of geosynth evaluate, and TEST, the scene of Dubai to test on with those that show the same ground (tile6;
# another needs another WORK).
set -euo pipefail
data=$1 work=$2 which=$3 remedies=${4:-}
here=$(dirname "$0")
steps=${STEPS:-1500} threads=${THREADS:-1}
run() { ${GEOSYNTH:-geosynth} "$@"; }

"${PYTHON:-python}" "$here/results_tiles.py" "$data" "$work" "${TEST:-tile6}"
cd "$work/${which%-*}"
labels=${which#*-}

# Several subsets of labels, several generators: what comes out must not hang on one of either.
sets=() generated="" repainted="" labelled="" balanced=""
for s in ${SUBSETS:-0 1}; do
  if [ "$labels" = 100 ]; then
    few=tiles
    sets=(tiles)
  else
    few=few$labels-$s
    run subset tiles --labels "$labels%" --seed $s --out "$few" --resume
    sets+=("$few")
  fi
  for g in ${GENERATORS:-0 1}; do
    name=$labels-$s$g
    asked=(--ratio "${RATIO:-3}" --of "$few" --seed "$s$g" --resume)
    run train "$few" --from base --steps "$steps" --seed $((10 * s + g)) --threads "$threads" --out "model$name" --resume
    if [ "$remedies" ]; then
      run generate "model$name" --masks-from "$few" "${asked[@]}" --out "repainted$name"
      run generate "model$name" --images-from "$few" "${asked[@]}" --out "labelled$name"
      run generate "model$name" --balance "${asked[@]}" --out "balanced$name"
    else
      run generate "model$name" "${asked[@]}" --out "synth$name"
    fi
    generated+=,synth$name repainted+=,repainted$name labelled+=,labelled$name balanced+=,balanced$name
  done
done
arms=(--arm "generated=${generated#,}") report=report$labels
if [ "$remedies" ]; then
  arms=(--arm "repainted=${repainted#,}" --arm "labelled=${labelled#,}" --arm "balanced=${balanced#,}")
  report=remedies$labels
fi
read -ra options <<<"${EVALUATE:-}"
run evaluate "${sets[@]}" "${arms[@]}" --threads "$threads" --out "$report" --resume "${options[@]}"
