#!/usr/bin/env bash
# The whole flow from the command line on two real data sets, as in docs/real-data.md:
#   bash benchmarks/real_flow.sh DATA OUT
# DATA holds buildings_oam/banepa_a.tif with its polygons and landcover_dubai/tile*.tif with masks. Finished steps are
# not done again.
set -euo pipefail
DATA=$1 OUT=$2
STEPS=${STEPS:-400}

# Banepa, Nepal: georeferenced aerial image, building polygons with the material of the roof, 0.3 m ground pixels.
B=$OUT/banepa
geosynth tile "$DATA/buildings_oam/banepa_a.tif" --labels "$DATA/buildings_oam/banepa_a_buildings.gpkg" \
  --class-field roof_class --ignore unknown --outside background --gsd 0.3 --size 64 --out "$B/tiles" --resume
geosynth train "$B/tiles" --from base --steps "$STEPS" --out "$B/generator" --resume
geosynth generate "$B/generator" --ratio 1 --of "$B/tiles" --out "$B/synthetic" --resume
geosynth segment "$B/tiles" --synthetic "$B/synthetic" --steps "$STEPS" --out "$B/segmenter" --resume
geosynth predict "$B/segmenter" "$DATA/buildings_oam/banepa_a.tif" --resample --out "$B/classes" --resume
geosynth vectorize "$B"/classes/banepa_a.tif --min-area 4 --out "$B/roofs.gpkg" --overwrite

# Dubai: no CRS, index masks, 0 = unlabelled. Tiles 1 and 3 show the same ground and stay in one split.
D=$OUT/dubai
S=$DATA/landcover_dubai
geosynth tile "$S/tile1.tif" "$S/tile3.tif" "$S/tile4.tif" "$S/tile6.tif" \
  --labels "$S/tile1_mask.tif" --labels "$S/tile3_mask.tif" --labels "$S/tile4_mask.tif" --labels "$S/tile6_mask.tif" \
  --legend "$S/classes.json" --size 64 --split scene \
  --assign tile1=train --assign tile3=train --assign tile4=val --assign tile6=test --out "$D/tiles" --resume
geosynth train "$D/tiles" --from base --steps "$STEPS" --out "$D/generator" --resume
geosynth generate "$D/generator" --count 256 --out "$D/synthetic" --resume
geosynth segment "$D/tiles" --synthetic "$D/synthetic" --steps "$STEPS" --out "$D/segmenter" --resume
geosynth predict "$D/segmenter" "$S/tile6.tif" --out "$D/classes" --resume
geosynth vectorize "$D"/classes/tile6.tif --min-area 20 --out "$D/landcover.gpkg" --overwrite
