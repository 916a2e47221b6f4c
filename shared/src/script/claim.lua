-- Claims a partition for a count of partitions. All partitions of a namespace are taken first, so that nobody publishes
-- by the count before any more, and each is given the new count only then. Both begin another epoch, so that all that is
-- followed is resynced: what was published by the count before may have come to others.
-- KEYS: epoch
-- ARGV: step (take, or give), count, epoch to begin, for how long from then on no other count may be claimed
-- Answers: '', or the count that is in the way
local kept = redis.call('HMGET', KEYS[1], 'partitions', 'claim', 'until')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local count, claim, leased = kept[1], kept[2], tonumber(kept[3] or 0)
local told = count == '0' and claim or count
local becomes = '0'
if ARGV[1] == 'take' then
  if told and told ~= ARGV[2] and leased > now then
    return told
  end
else
  -- Where it lost its data meanwhile nobody publishes by another count either: it tells none.
  if told and told ~= ARGV[2] then
    return told
  elseif count == ARGV[2] then
    return ''
  end
  becomes = ARGV[2]
end
local lease = string.format('%.0f', now + tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], 'partitions', becomes, 'claim', ARGV[2], 'epoch', ARGV[3], 'until', lease)
return ''
