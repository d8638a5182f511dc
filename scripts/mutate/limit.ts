/** Share of mutants that the tests must find. */
const SHARE = 0.85;
/** From so many mutants on the share is taken as it is; fewer are a sample that may have had bad luck. */
const LARGE = 300;
/** Of so many small samples of a model whose true share is just enough, one may fail. */
const ODDS = 1000;

/** What a run of mutants must reach. */
export interface Limit {
  readonly kills: number;
  /** Why so many, for the report. */
  readonly rule: string;
}

/** Kills that so many mutants need: the share itself, or in a small sample the fewest that are not improbable (binomial, one-sided). */
export const limitOf = (count: number): Limit => {
  if (count >= LARGE) return { kills: Math.ceil(SHARE * count), rule: `${100 * SHARE} %` };
  let kills = 0;
  let chance = (1 - SHARE) ** count; // that exactly so many are killed
  for (let upTo = chance; upTo < 1 / ODDS; upTo += chance) {
    chance *= ((count - kills) / (kills + 1)) * (SHARE / (1 - SHARE));
    kills++;
  }
  return { kills, rule: `fewer would be below 1 in ${ODDS} if the share were ${100 * SHARE} %` };
};
