DROP TABLE price_overrides;
