// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wanline - a WAN line of the lab, for kernels without sch_netem
 *
 * Why it exists: where the kernel has netem, the lab uses that. Where it has not, vde2's wirefilter
 * with its switches would do, but took 79 % of a core for two lines of 200 Mbit/s with an RTT of
 * 60 ms: six processes, each frame through four sockets. The VMs under test need those cycles. This
 * took 35 % for the same, most of it in the kernel.
 *
 * Theory of operation
 *
 *	host a                wanline                         host b
 *	[tap] --read--> loss? queue full? --[ delay queue ]--write--> [tap]
 *	[tap] <--write--[ delay queue ]-- queue full? loss? <--read-- [tap]
 *
 * Each direction is one FIFO. A frame read at time t starts to leave at s = max(t, when the one
 * before has left), has left at s + bits / rate, and is written to the other side at that time plus
 * the delay. So the rate is exact over any span, without tokens and bursts. When s - t exceeds the
 * queue limit, the frame is dropped (tail drop). The limit is given in time, as routers' buffers
 * are sized in practice.
 *
 * While frames are under way the loop sleeps at least TICK between two rounds and then handles all
 * that has come or is due: that costs up to TICK of jitter and saves most of the wake-ups. An idle
 * line sleeps in poll().
 *
 * The taps are made inside the network namespaces of the hosts; this process itself stays where it
 * was started and has no address anywhere. An end can be detached (the host's power is cut) and
 * attached again while the other one stays as it is: a WAN takes no interface from a host whose
 * peer dies.
 *
 * Control: a UNIX stream socket, one command line for each connection; the answer is "ok" or
 * "error: REASON".
 *
 *	attach a|b NETNS-FILE IFNAME	make the tap of this end
 *	detach a|b			remove it; frames to it are lost
 *	set BIT/S DELAY_US LOSS_PPM QUEUE_US
 *	cut				drop everything, also what is under way
 *	heal
 *	flip a|b COUNT BYTES		damages the next COUNT frames read at this end which carry
 *at least that many bytes of TCP to or from a port above 1023: one bit of the last byte, the
 *checksum repaired, so that TCP takes it for good
 *	stats				"ok" and the frames sent, lost by chance, dropped by
 *					the queue, first from a to b, then from b to a; then frames
 *					that came while the line was cut, and frames damaged
 *
 * Limits: frames of up to 2 KiB, no jitter, the same settings for both directions.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 2032
#define FRAMES	  (128 * 1024) /* under way at most, both directions; 1 Gbit/s for 1.5 s */
#define BATCH	  512
#define TICK_NS	  200000
#define NS_PER_S  1000000000ULL

struct frame {
	uint64_t due;
	uint32_t next; /* index + 1; 0 ends a list */
	uint16_t len;
	unsigned char data[FRAME_MAX];
};

struct direction {
	uint32_t head, tail; /* FIFO of frames, by index + 1 */
	uint64_t busy_until;
	uint64_t sent, lost, dropped;
	uint64_t flips, flip_bytes; /* frames to damage still, and their least payload */
};

struct settings {
	uint64_t rate; /* bit/s */
	uint64_t delay_ns;
	uint64_t loss_ppm;
	uint64_t queue_ns;
	bool cut;
};

struct line {
	int tap[2]; /* -1: detached */
	int ctl;
	int home_ns;
	struct direction dir[2]; /* dir[i] is fed by tap[i] */
	struct settings set;
	struct frame *frames;
	uint32_t fresh; /* frames never used yet begin here */
	uint32_t free;	/* a stack, so that the frames used are those still in the cache */
	uint64_t random;
	uint64_t cut_off, flipped;
};

static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* xorshift64: chance decides about losses only, nobody needs it to be unpredictable */
static bool by_chance(struct line *l, uint64_t ppm)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return l->random % 1000000 < ppm;
}

static uint32_t frame_take(struct line *l)
{
	uint32_t at = l->free;

	if (at) {
		l->free = l->frames[at - 1].next;
		return at;
	}
	return l->fresh < FRAMES ? ++l->fresh : 0;
}

static void frame_give(struct line *l, uint32_t at)
{
	l->frames[at - 1].next = l->free;
	l->free = at;
}

static void enqueue(struct line *l, struct direction *d, uint32_t at)
{
	l->frames[at - 1].next = 0;
	if (d->tail)
		l->frames[d->tail - 1].next = at;
	else
		d->head = at;
	d->tail = at;
}

static void dequeue(struct line *l, struct direction *d)
{
	uint32_t at = d->head;

	d->head = l->frames[at - 1].next;
	if (!d->head)
		d->tail = 0;
	frame_give(l, at);
}

static void forget_frames(struct line *l)
{
	for (int i = 0; i < 2; i++) {
		while (l->dir[i].head)
			dequeue(l, &l->dir[i]);
		l->dir[i].busy_until = 0;
	}
}

/* Decides the fate of a frame that was just read: its time of arrival, or false when it's lost. */
static bool admit(struct line *l, struct direction *d, struct frame *f, uint64_t now)
{
	uint64_t start = d->busy_until > now ? d->busy_until : now;

	if (l->set.cut) {
		l->cut_off++;
		return false;
	}
	if (by_chance(l, l->set.loss_ppm)) {
		d->lost++;
		return false;
	}
	if (start - now > l->set.queue_ns) {
		d->dropped++;
		return false;
	}
	d->busy_until = start + f->len * 8ULL * NS_PER_S / l->set.rate;
	f->due = d->busy_until + l->set.delay_ns;
	return true;
}

/*
 * Where a frame's TCP payload begins, if it is at least `least` bytes of a connection that is
 * neither SSH's nor another well-known service's; 0 if not. IPv4 without fragments.
 */
static size_t tcp_payload(const struct frame *f, uint64_t least)
{
	size_t ip = 14, tcp, payload, end;

	if (f->len < ip + 40 || f->data[12] != 8 || f->data[13] || f->data[ip] >> 4 != 4 ||
	    f->data[ip + 9] != IPPROTO_TCP)
		return 0;
	tcp = ip + (f->data[ip] & 15) * 4U;
	end = ip + ((size_t)f->data[ip + 2] << 8 | f->data[ip + 3]);
	if (tcp + 20 > f->len || end > f->len || f->data[tcp] < 4 || f->data[tcp + 2] < 4)
		return 0;
	payload = tcp + (f->data[tcp + 12] >> 4) * 4U;
	return payload < end && end - payload >= least ? payload : 0;
}

/* RFC 1624: what one 16-bit word's change does to the checksum. */
static void repair_checksum(unsigned char *sum, unsigned int before, unsigned int after)
{
	uint32_t s = (~(sum[0] << 8 | sum[1]) & 0xffffU) + (~before & 0xffffU) + after;

	s = (s & 0xffff) + (s >> 16);
	s = ~((s & 0xffff) + (s >> 16));
	sum[0] = (unsigned char)(s >> 8);
	sum[1] = (unsigned char)s;
}

static void flip(struct line *l, struct direction *d, struct frame *f)
{
	size_t payload = d->flips ? tcp_payload(f, d->flip_bytes) : 0;
	size_t ip = 14, tcp = ip + (f->data[ip] & 15) * 4U, at;
	unsigned int before;

	if (!payload)
		return;
	at = ip + ((size_t)f->data[ip + 2] << 8 | f->data[ip + 3]) - 1;
	at -= (at - tcp) % 2; /* the word that the checksum sees */
	if (at < payload)
		return;
	before = (unsigned int)f->data[at] << 8 | (at + 1 < f->len ? f->data[at + 1] : 0);
	f->data[at] ^= 0x10;
	repair_checksum(f->data + tcp + 16, before, before ^ 0x1000);
	d->flips--;
	l->flipped++;
}

/* Reads what waits at one end; at most BATCH frames, so that due ones don't wait. Returns their
 * number. */
static int drain(struct line *l, int side, uint64_t now)
{
	struct direction *d = &l->dir[side];
	int n = 0;

	for (uint32_t at; l->tap[side] >= 0 && n < BATCH && (at = frame_take(l)); n++) {
		struct frame *f = &l->frames[at - 1];
		ssize_t len = read(l->tap[side], f->data, sizeof(f->data));

		if (len <= 0) {
			frame_give(l, at);
			break;
		}
		f->len = (uint16_t)len;
		flip(l, d, f);
		if (admit(l, d, f, now))
			enqueue(l, d, at);
		else
			frame_give(l, at);
	}
	return n;
}

/* Writes what is due. A frame that the far tap does not take (interface down, no host) is lost. */
static int deliver(struct line *l, int side, uint64_t now)
{
	struct direction *d = &l->dir[side];
	int to = l->tap[!side];
	int n = 0;

	while (d->head) {
		struct frame *f = &l->frames[d->head - 1];

		if (f->due > now)
			break;
		if (to >= 0 && write(to, f->data, f->len) == f->len)
			d->sent++;
		dequeue(l, d);
		n++;
	}
	return n;
}

/* Makes a tap in the namespace we are in. Its queue is long: it's ours that decides about drops. */
static int tap_open(const char *name, char *why, size_t why_len)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int sock;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) < 0) {
		snprintf(why, why_len, "tap '%s': %s", name, strerror(errno));
		if (tap >= 0)
			close(tap);
		return -1;
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ifr.ifr_qlen = 8192;
	if (sock < 0 || ioctl(sock, SIOCSIFTXQLEN, &ifr) < 0)
		fprintf(stderr, "wanline: queue length of %s: %s\n", name, strerror(errno));
	if (sock >= 0)
		close(sock);
	return tap;
}

static void detach(struct line *l, int side)
{
	if (l->tap[side] >= 0)
		close(l->tap[side]);
	l->tap[side] = -1;
}

static bool attach(struct line *l, int side, const char *ns, const char *name, char *why,
		   size_t len)
{
	int fd = open(ns, O_RDONLY | O_CLOEXEC);
	int tap = -1;

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		snprintf(why, len, "network namespace '%s': %s", ns, strerror(errno));
	else
		tap = tap_open(name, why, len);
	if (fd >= 0)
		close(fd);
	if (setns(l->home_ns, CLONE_NEWNET) < 0) {
		perror("wanline: back to the own namespace");
		exit(1);
	}
	if (tap < 0)
		return false;
	detach(l, side);
	l->tap[side] = tap;
	return true;
}

static bool settings_parse(struct settings *set, const char *args, char *why, size_t len)
{
	uint64_t rate, delay_us, loss_ppm, queue_us;

	if (sscanf(args, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &rate, &delay_us,
		   &loss_ppm, &queue_us) != 4 ||
	    rate < 1000 || rate > 100 * NS_PER_S || loss_ppm > 1000000 || delay_us > 10000000 ||
	    queue_us > 10000000) {
		snprintf(why, len, "expected BIT/S DELAY_US LOSS_PPM QUEUE_US, got '%.200s'", args);
		return false;
	}
	set->rate = rate;
	set->delay_ns = delay_us * 1000;
	set->loss_ppm = loss_ppm;
	set->queue_ns = queue_us * 1000;
	return true;
}

/* Carries out one command; the answer goes to `say`. */
static void command(struct line *l, const char *text, char *say, size_t len)
{
	char verb[16] = "", side[16] = "", ns[256] = "", name[IFNAMSIZ] = "";
	char why[400] = "unknown command";
	int fields = sscanf(text, "%15s %15s %255s %15s", verb, side, ns, name);
	int end = side[0] == 'b';
	bool has_end = (side[0] == 'a' || side[0] == 'b') && !side[1];
	const struct direction *d = l->dir;
	bool ok = false;

	if (!strcmp(verb, "attach") && fields == 4 && has_end) {
		ok = attach(l, end, ns, name, why, sizeof(why));
	} else if (!strcmp(verb, "detach") && has_end) {
		detach(l, end);
		ok = true;
	} else if (!strcmp(verb, "set")) {
		ok = settings_parse(&l->set, text + 3, why, sizeof(why));
	} else if (!strcmp(verb, "cut") || !strcmp(verb, "heal")) {
		if (l->set.cut != (verb[0] == 'c'))
			forget_frames(l);
		l->set.cut = verb[0] == 'c';
		ok = true;
	} else if (!strcmp(verb, "flip") && fields == 4 && has_end) {
		l->dir[end].flips = strtoull(ns, NULL, 10);
		l->dir[end].flip_bytes = strtoull(name, NULL, 10);
		ok = true;
	} else if (!strcmp(verb, "stats")) {
		snprintf(say, len,
			 "ok %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
			 " %" PRIu64 " %" PRIu64 "\n",
			 d[0].sent, d[0].lost, d[0].dropped, d[1].sent, d[1].lost, d[1].dropped,
			 l->cut_off, l->flipped);
		return;
	}
	snprintf(say, len, "%s%s\n", ok ? "ok" : "error: ", ok ? "" : why);
}

static void serve_control(struct line *l)
{
	int conn = accept4(l->ctl, NULL, NULL, SOCK_CLOEXEC);
	struct timeval patience = {.tv_usec = 500000};
	char text[512], say[512];
	ssize_t n;

	if (conn < 0)
		return;
	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	n = recv(conn, text, sizeof(text) - 1, 0);
	if (n > 0) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		command(l, text, say, sizeof(say));
		send(conn, say, strlen(say), MSG_NOSIGNAL);
	}
	close(conn);
}

static int control_listen(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(sun.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 8) < 0)
		return -1;
	return fd;
}

/* Sleeps until a tap or the control socket has something, or the first frame is due. */
static void wait_for_work(struct line *l, uint64_t now)
{
	struct pollfd fds[3] = {{.fd = l->ctl, .events = POLLIN},
				{.fd = l->tap[0], .events = POLLIN},
				{.fd = l->tap[1], .events = POLLIN}};
	struct timespec ts, *timeout = NULL;
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < 2; i++)
		if (l->dir[i].head && l->frames[l->dir[i].head - 1].due < due)
			due = l->frames[l->dir[i].head - 1].due;
	if (due != UINT64_MAX) {
		due = due > now ? due - now : 0;
		ts.tv_sec = (time_t)(due / NS_PER_S);
		ts.tv_nsec = (long)(due % NS_PER_S);
		timeout = &ts;
	}
	if (ppoll(fds, 3, timeout, NULL) < 0)
		return;
	if (fds[0].revents)
		serve_control(l);
	/* a tap whose namespace was taken apart reports an error for ever: let it go */
	for (int i = 0; i < 2; i++)
		if (fds[i + 1].revents & (POLLERR | POLLNVAL))
			detach(l, i);
}

static void run(struct line *l)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};

	while (!stopping) {
		uint64_t now = now_ns();
		int n = deliver(l, 0, now) + deliver(l, 1, now);

		n += drain(l, 0, now) + drain(l, 1, now);
		if (n)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		wait_for_work(l, now_ns());
	}
}

int main(int argc, char **argv)
{
	struct line l = {.tap = {-1, -1},
			 .set = {.rate = 100000000, .queue_ns = 50000000},
			 .random = 88172645463325252ULL};
	struct sigaction stop = {.sa_handler = on_stop};

	if (argc != 2) {
		fprintf(stderr, "usage: wanline CONTROL-SOCKET\n");
		return 2;
	}
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	prctl(PR_SET_TIMERSLACK, 1000UL);
	/* it stands in for hardware, which no guest can starve */
	setpriority(PRIO_PROCESS, 0, -15);
	l.frames = mmap(NULL, FRAMES * sizeof(struct frame), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	l.home_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	l.ctl = control_listen(argv[1]);
	if (l.frames == MAP_FAILED || l.home_ns < 0 || l.ctl < 0) {
		perror("wanline");
		return 1;
	}
	run(&l);
	unlink(argv[1]);
	return 0;
}
