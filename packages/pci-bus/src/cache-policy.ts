/**
 * How a model's caches behave.
 * - `none`: nothing is kept; every request walks the tables in memory.
 * - `realistic`: sizes and replacement like hardware's.
 * - `adversarial`: everything the architecture allows to be kept is kept until software invalidates it, so that a driver's
 *   missing invalidation is found.
 */
export type CachePolicy = "none" | "realistic" | "adversarial";
