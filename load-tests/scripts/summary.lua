-- Prints one line that src/driver.rs reads, after wrk's own summary.
done = function(summary, latency, requests)
  io.write(string.format(
    "SUMMARY requests=%d duration_us=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.requests, summary.duration, summary.errors.connect, summary.errors.read,
    summary.errors.write, summary.errors.status, summary.errors.timeout))
end
