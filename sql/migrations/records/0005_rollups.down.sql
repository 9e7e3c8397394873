DROP TABLE rollup_names;
DROP TABLE rollups;
