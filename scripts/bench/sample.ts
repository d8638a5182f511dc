const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** Repeats `run` for at least `duration` nanoseconds of this process's CPU time; nanoseconds per operation. */
export const sample = (run: () => number, duration: number): number => {
  const start = cpu();
  let operations = 0;
  let spent: number;
  do {
    operations += run();
    spent = cpu() - start;
  } while (spent < duration);
  return spent / operations;
};
