#!/usr/bin/env bash
# Makes the sample stream anew, beside this script: a generated picture and
# generated music, as TS (ts/, two variants) and as fMP4 (fmp4/, one variant).
set -euo pipefail
cd "$(dirname "$0")"

command -v ffmpeg >/dev/null || { echo "make-sample.sh: ffmpeg is absent; install it to make the sample anew" >&2; exit 1; }

seconds=16 segment=4 rate=25
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff() { ffmpeg -hide_banner -loglevel error -nostdin -y "$@"; }

# Plucked notes over a slow chord; both ends fade.
pluck='min(1,60*mod(t,0.5))*exp(-5*mod(t,0.5))'
note='220*pow(2,(3*eq(mod(floor(2*t),8),1)+7*eq(mod(floor(2*t),8),2)+12*eq(mod(floor(2*t),8),3)+10*eq(mod(floor(2*t),8),4)+7*eq(mod(floor(2*t),8),5)+5*eq(mod(floor(2*t),8),6)+3*eq(mod(floor(2*t),8),7))/12)'
chord='sin(2*PI*110*t)+0.7*sin(2*PI*164.81*t)+0.5*sin(2*PI*220*t)'
voice() { echo "0.16*$pluck*sin(2*PI*$note*$1*mod(t,0.5))+0.03*($chord)*(0.7+0.3*sin(2*PI*0.25*t+$2))"; }
music="aevalsrc=exprs='$(voice 1 0)|$(voice 2 1)':s=48000:d=$seconds,afade=t=in:d=0.5,afade=t=out:st=$((seconds - 1)):d=1"

# The clock needs a font; without one the picture has none.
clock="drawtext=text='Warren %{pts\:hms}':x=24:y=22:fontsize=26:fontcolor=0xf4f1ea:shadowcolor=0x10204a:shadowx=1:shadowy=1,"
ff -f lavfi -i color=s=64x64:d=0.1 -vf "${clock%,}" -f null - 2>/dev/null || clock=

# A turning band of colours, a moving tile, and a bar that shows how far the stream is.
picture="gradients=s=640x360:r=$rate:d=$seconds:n=4:c0=0x10204a:c1=0x2b7a9b:c2=0xe8a15b:c3=0x5b2a6e:x0=320:y0=180:x1=960:y1=540:speed=0.008:seed=7[back];
  color=c=0xf4f1ea:s=72x72:r=$rate:d=$seconds[tile];
  color=c=0xf4f1ea:s=640x6:r=$rate:d=$seconds[bar];
  [back][tile]overlay=x='284+230*sin(2*PI*t/8)':y='144+90*sin(2*PI*t/4)'[moving];
  [moving][bar]overlay=x='-640+640*(t+1/$rate)/$seconds':y=354,${clock}format=yuv420p"

# encode NAME HEIGHT PROFILE LEVEL VIDEO_KBIT AUDIO_KBIT: closed groups of one segment, no B frames;
# one thread, because with several x264 gives other bytes each time.
encode() {
  ff -i "$work/source.mkv" -vf "scale=-2:$2" \
    -c:v libx264 -preset slow -threads 1 -profile:v "$3" -level "$4" -bf 0 -b:v "$5k" -maxrate "$(($5 * 3 / 2))k" -bufsize "$(($5 * 2))k" \
    -g $((segment * rate)) -keyint_min $((segment * rate)) -sc_threshold 0 -c:a aac -b:a "$6k" \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact "$work/$1.mp4"
}

# package NAME DIR HLS_OPTIONS...: the encoded stream, cut into segments.
package() {
  mkdir -p "$2"
  ff -i "$work/$1.mp4" -c copy -fflags +bitexact -f hls -hls_time $segment -hls_playlist_type vod -hls_list_size 0 \
    -hls_flags independent_segments "${@:3}" "$2/index.m3u8"
}

# variant NAME DIR: the lines of one variant; its codec string is read from the stream's own SPS,
# its rates from the segments' sizes.
variant() {
  local sps
  sps=$(ff -i "$work/$1.mp4" -c copy -an -frames:v 1 -bsf:v h264_mp4toannexb -f h264 - | od -An -v -tx1 | tr -d ' \n' | grep -oE '000000016[0-9a-f]{7}' | head -1)
  awk -v dir="$2" -v size="$(ffprobe -v error -select_streams v -show_entries stream=width,height -of csv=p=0:s=x "$work/$1.mp4")" \
    -v avc="$(echo "${sps:10}" | tr a-f A-F)" -v rate=$rate '
    /^#EXTINF:/ { split($0, part, /[:,]/); length_s = part[2] }
    !/^#/ { file = dir "/" $0; ("wc -c < " file) | getline bytes; total += bytes; all += length_s
            if (length_s >= 2 && bytes * 8 / length_s > peak) peak = bytes * 8 / length_s }
    END { printf "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=\"avc1.%s,mp4a.40.2\",RESOLUTION=%s,FRAME-RATE=%d.000\n%s/index.m3u8\n",
          peak + 1, total * 8 / all + 1, avc, size, rate, dir }' "$2/index.m3u8"
}

ff -filter_complex "$picture[v];$music[a]" -map '[v]' -map '[a]' -c:v libx264 -preset ultrafast -qp 0 -c:a pcm_s16le "$work/source.mkv"
encode high 360 main 3.0 330 64
encode low 180 baseline 2.1 110 48

rm -rf ts fmp4
mkdir ts fmp4
(
  cd ts
  package low 180p -hls_segment_filename '180p/seg_%03d.ts'
  package high 360p -hls_segment_filename '360p/seg_%03d.ts'
  { printf '#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n'; variant low 180p; variant high 360p; } >master.m3u8
)
(
  cd fmp4
  package high 360p -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename '360p/seg_%03d.m4s'
  { printf '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n'; variant high 360p; } >master.m3u8
)
du -sb ts fmp4
