-- Claims a partition for a count of partitions. All partitions of a namespace are taken first, so that nobody publishes
-- by the count before any more, and each is given the new count only then. Both begin another epoch: what was published
-- by another count since an epoch began, its followers cannot have missed in silence.
-- KEYS: epoch
-- ARGV: step (take, or give), count, epoch to begin, for how long no other count may be claimed from then on
-- Answers: '', or the count that is in the way
local kept = redis.call('HMGET', KEYS[1], 'partitions', 'claim', 'until')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local count, claim, leased = kept[1], kept[2], tonumber(kept[3] or 0)
if ARGV[1] == 'take' then
  if count and count ~= '0' and count ~= ARGV[2] and leased > now then
    return count
  end
  redis.call('HSET', KEYS[1], 'partitions', '0', 'claim', ARGV[2], 'epoch', ARGV[3])
  return ''
end
if count == ARGV[2] then
  return ''
end
-- Somebody has taken it for another count meanwhile.
if count and (count ~= '0' or claim ~= ARGV[2]) then
  return count == '0' and claim or count
end
local lease = string.format('%.0f', now + tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], 'partitions', ARGV[2], 'claim', ARGV[2], 'epoch', ARGV[3], 'until', lease)
return ''
