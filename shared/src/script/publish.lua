-- Publishes one event to its addresses in one partition: everything or, under its idempotency key, nothing again.
-- KEYS: journal, epoch, one stream per address, [idempotency key]
-- ARGV: message, count of partitions that the publisher goes by, epoch to start with, events, age, journal entries, age of
--   the key (0: there is none), one address per stream
-- Answers: id, epoch, 1 if the key was known, count of partitions ('': none is set). No id: nothing was published, as the
--   count is another
-- Without KEYS it does nothing: an EVAL of that kind has a server learn the script.
-- Sends by PUBLISH, a local of the line before this file: 'PUBLISH', or on a cluster 'SPUBLISH'
if #KEYS == 0 then
  return
end
local kept = redis.call('HMGET', KEYS[2], 'epoch', 'events', 'age', 'journal', 'fenced', 'partitions',
  'paced_until', 'paced_keep')
-- Gateways have left this server for the new primary: what it takes is lost when it follows that one.
if kept[5] == '1' then
  return redis.error_reply('READONLY another server is the primary now')
end
local count = kept[6] or ''
if kept[6] and count ~= ARGV[2] then
  return { '', '', 0, count }
end
local epoch = kept[1]
local function begin()
  epoch = ARGV[3]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end
if not epoch then
  begin()
end
local key_age = tonumber(ARGV[7])
if key_age > 0 then
  local id = redis.call('GET', KEYS[#KEYS])
  if id then
    return { id, epoch, 1, count }
  end
end
local entry = {}
for i = 8, #ARGV do
  entry[#entry + 1] = 'a'
  entry[#entry + 1] = ARGV[i]
end
local journal = kept[4] or ARGV[6]
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', journal, '*', unpack(entry))
if not id then
  -- No journal ever expires. Where it is gone, nobody can learn what was missed: another history begins.
  begin()
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', journal, '*', unpack(entry))
end
-- By the id, not by the clock, which may have stepped back below it: so a place is too old before its stream is gone.
local gone = tonumber(string.match(id, '^%d+')) + tonumber(kept[3] or ARGV[5])
-- But not for a year because ids are a year ahead: gateways then move ids on at the pace of the
-- clock, so places grow old all the same. Only while gateways do so. Seldom needs TIME, which a
-- user with the rights of earlier versions may not call: for that one streams are kept by their ids.
local paced_until, paced_keep = tonumber(kept[7] or ''), tonumber(kept[8] or '')
if paced_until and paced_keep and gone > paced_until + paced_keep then
  local time = redis.pcall('TIME')
  local now = time[1] and tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  if now and now < paced_until then
    gone = now + paced_keep
  end
end
gone = string.format('%.0f', gone)
local sent = '1 ' .. id .. ' ' .. epoch .. ' ' .. ARGV[1]
for i = 3, #ARGV - 5 do
  local add = { 'XADD', KEYS[i], 'MAXLEN', '~', kept[2] or ARGV[4], id, 'm', ARGV[1] }
  local added = redis.pcall(unpack(add))
  if type(added) == 'table' then
    if not string.find(added.err, 'ID specified in XADD is equal or smaller') then
      return added
    end
    -- Of a history whose journal is gone, with ids that the clock has yet to reach. Nobody's place is there any more, so it
    -- expires at once.
    redis.call('PEXPIREAT', KEYS[i], 1)
    redis.call(unpack(add))
  end
  redis.call('PEXPIREAT', KEYS[i], gone)
  redis.call(PUBLISH, KEYS[i], sent)
end
if string.find(ARGV[1], '^%a*m') then
  redis.call(PUBLISH, KEYS[1], '1 ' .. id .. ' ' .. epoch)
end
if key_age > 0 then
  redis.call('SET', KEYS[#KEYS], id, 'PX', key_age)
end
return { id, epoch, 0, count }
