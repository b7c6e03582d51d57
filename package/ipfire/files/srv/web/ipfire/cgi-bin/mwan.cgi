#!/usr/bin/perl
###############################################################################
# mwan: what carries RED, and the buttons to change that.                     #
#                                                                             #
# Talks to the daemon's socket for operators and does nothing else: no file   #
# is read or written, no program is run. The web server's group may use that  #
# socket; the daemon refuses everything there but the status and RED.         #
###############################################################################

use strict;
use warnings;
# What IPFire's modules bring is named here once.
no warnings 'once';
use IO::Socket::UNIX;

require '/var/ipfire/general-functions.pl';
require "${General::swroot}/lang.pl";
require "${General::swroot}/header.pl";

my $SOCKET = '/run/mwan/operator.sock';
# Seconds the daemon may take; bytes of its answer.
my $TIME_MAX = 10;
my $ANSWER_MAX = 16 * 1024 * 1024;
# Nesting of its answer.
my $DEPTH_MAX = 32;

# What a button asks for. A profile is the one thing that comes from outside.
my %REQUESTS = (
	'failover' => '{"method":"red","command":{"command":"failover"}}',
	'failback' => '{"method":"red","command":{"command":"failback"}}',
	'test'     => '{"method":"red","command":{"command":"test_primary"}}',
	'enable'   => '{"method":"red","command":{"command":"enable"}}',
	'disable'  => '{"method":"red","command":{"command":"disable"}}',
);
my %DONE = (
	'switch'   => 'The profile takes RED over as soon as it works.',
	'failover' => 'The best backup takes RED over as soon as it works.',
	'failback' => 'RED goes back to the primary as soon as that works.',
	'test'     => 'The primary is brought up and tested beside what carries RED; its line below shows how that goes.',
	'enable'   => 'mwan is switched on; that takes effect within two seconds.',
	'disable'  => 'mwan is switched off; RED goes back to the primary within a few seconds.',
);

my %params = ();
my ($error, $message) = ('', '');

&Header::showhttpheaders();
# Fills in nothing unless it is a POST that comes from a page of this very server.
&Header::getcgihash(\%params);

if (($ENV{'REQUEST_METHOD'} // '') eq 'POST') {
	($error, $message) = &act($params{'ACTION'} // '', $params{'PROFILE'} // '');
}
my ($status, $trouble) = &ask('{"method":"status"}');
$error = $trouble if ($error eq '');

&Header::openpage('Multi-WAN', 1, '<meta http-equiv="refresh" content="15; url=/cgi-bin/mwan.cgi">');
&Header::openbigbox('100%', 'left', '', $error);
if ($error ne '') {
	&Header::openbox('100%', 'left', $Lang::tr{'error messages'});
	print "<p class='base'>" . &html($error) . "</p>\n";
	&Header::closebox();
}
if ($message ne '') {
	&Header::openbox('100%', 'left', 'Multi-WAN');
	print "<p class='base'>" . &html($message) . "</p>\n";
	&Header::closebox();
}
&show($status) if (ref($status) eq 'HASH');
&Header::closebigbox();
&Header::closepage();

# A button: an error or a message.
sub act {
	my ($action, $profile) = @_;
	my $request = $REQUESTS{$action};
	if ($action eq 'switch') {
		# Such a name needs no quoting in JSON.
		return ('This is not the name of a profile.', '') unless ($profile =~ /\A[A-Za-z0-9_.-]{1,32}\z/);
		$request = '{"method":"red","command":{"command":"switch","profile":"' . $profile . '"}}';
	}
	return ('The request did not come from a page of this firewall, or asks for something unknown.', '')
		unless (defined($request));
	my ($answer, $trouble) = &ask($request);
	return ($trouble, '') if ($trouble ne '');
	return ('', $DONE{$action});
}

# One request, one answer of the daemon: the answer, and what went wrong.
sub ask {
	my ($request) = @_;
	my $line = '';
	my $asked = eval {
		local $SIG{'ALRM'} = sub { die "late\n" };
		# A daemon that ends meanwhile must not end us.
		local $SIG{'PIPE'} = 'IGNORE';
		alarm($TIME_MAX);
		my $socket = IO::Socket::UNIX->new('Type' => SOCK_STREAM, 'Peer' => $SOCKET);
		die "silent\n" unless ($socket);
		print $socket "$request\n";
		$socket->flush();
		while (length($line) < $ANSWER_MAX && $line !~ /\n\z/) {
			last unless (sysread($socket, $line, 65536, length($line)));
		}
		1;
	};
	alarm(0);
	return (undef, 'The daemon does not run. Start it on the console: /etc/init.d/mwan start') unless ($asked);
	my $answer = eval { &parse($line) };
	return (undef, 'The answer of the daemon cannot be read.') unless (ref($answer) eq 'HASH');
	my $result = $answer->{'result'} // '';
	if ($result eq 'error') {
		my $hint = defined($answer->{'hint'}) ? " ($answer->{'hint'})" : '';
		return (undef, ($answer->{'message'} // 'The daemon refused that.') . $hint);
	}
	return ($answer, '');
}

# JSON, as far as the daemon writes it.
sub parse {
	my ($text) = @_;
	pos($text) = 0;
	return &value(\$text, 0);
}

sub value {
	my ($text, $depth) = @_;
	die "deep\n" if ($depth > $DEPTH_MAX);
	return &string($text) if ($$text =~ /\G\s*"/gc);
	if ($$text =~ /\G\s*\{/gc) {
		my %object = ();
		return \%object if ($$text =~ /\G\s*\}/gc);
		while (1) {
			die "key\n" unless ($$text =~ /\G\s*"/gc);
			my $key = &string($text);
			die "colon\n" unless ($$text =~ /\G\s*:/gc);
			$object{$key} = &value($text, $depth + 1);
			next if ($$text =~ /\G\s*,/gc);
			return \%object if ($$text =~ /\G\s*\}/gc);
			die "object\n";
		}
	}
	if ($$text =~ /\G\s*\[/gc) {
		my @list = ();
		return \@list if ($$text =~ /\G\s*\]/gc);
		while (1) {
			push(@list, &value($text, $depth + 1));
			next if ($$text =~ /\G\s*,/gc);
			return \@list if ($$text =~ /\G\s*\]/gc);
			die "list\n";
		}
	}
	return $1 if ($$text =~ /\G\s*(-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)/gc);
	return 1 if ($$text =~ /\G\s*true/gc);
	return 0 if ($$text =~ /\G\s*false/gc);
	return undef if ($$text =~ /\G\s*null/gc);
	die "value\n";
}

sub string {
	my ($text) = @_;
	die "string\n" unless ($$text =~ /\G((?:[^"\\]|\\.)*)"/gcs);
	my $string = $1;
	my %short = ('n' => "\n", 't' => "\t", 'r' => "\r", 'b' => "\b", 'f' => "\f");
	# The page is bytes of UTF-8, as the answer is.
	$string =~ s/\\(?:u([0-9a-fA-F]{4})|(.))/defined($1) ? &character(hex($1)) : ($short{$2} \/\/ $2)/ges;
	return $string;
}

sub character {
	my ($number) = @_;
	my $character = ($number >= 0xD800 && $number <= 0xDFFF) ? '?' : chr($number);
	utf8::encode($character);
	return $character;
}

# Text, as it may stand anywhere in the page. Header::escape would take UTF-8 for Latin-1.
sub html {
	my ($text) = @_;
	$text = '' unless (defined($text));
	$text =~ s/[\x00-\x1f\x7f]/ /g;
	$text =~ s/&/&amp;/g;
	$text =~ s/</&lt;/g;
	$text =~ s/>/&gt;/g;
	$text =~ s/"/&quot;/g;
	$text =~ s/'/&#39;/g;
	return $text;
}

sub list {
	my ($value) = @_;
	return (ref($value) eq 'ARRAY') ? grep { ref($_) eq 'HASH' } @$value : ();
}

sub show {
	my ($status) = @_;
	my $red = $status->{'red'};
	return unless (ref($red) eq 'HASH');
	&Header::openbox('100%', 'left', 'RED');
	print "<p class='base'>" . &html(&headline($red)) . "</p>\n";
	if (ref($status->{'problems'}) eq 'ARRAY' && @{$status->{'problems'}}) {
		print "<ul>\n";
		print "<li>" . &html($_) . "</li>\n" foreach (@{$status->{'problems'}});
		print "</ul>\n";
	}
	&links($status, $red) if ($red->{'enabled'});
	&Header::closebox();
	&buttons($red);
}

sub headline {
	my ($red) = @_;
	return 'mwan is switched off: RED is IPFire\'s own.' unless ($red->{'enabled'});
	return 'Several REDs at once.' if ($red->{'several'});
	my $profile = $red->{'profile'} // '';
	my $state = $red->{'state'} // '';
	return "RED is being taken over by $profile." if ($state eq 'taking_over');
	return 'RED is being given back to the primary.' if ($state eq 'giving_back');
	my $hand = defined($red->{'forced'}) ? ', by hand until failback' : '';
	return "RED is carried by $profile$hand.";
}

sub links {
	my ($status, $red) = @_;
	print <<END;
<table class='tbl' width='100%'>
	<tr><th>Link</th><th>Type</th><th>Device</th><th>Connection</th><th>Carries</th><th>Health</th></tr>
END
	foreach my $link (&list($red->{'links'})) {
		my $name = $link->{'name'} // '';
		my $phase = $link->{'phase'} // '';
		$phase .= ', on trial' if ($link->{'on_trial'});
		$phase .= ": $link->{'reason'}" if (defined($link->{'reason'}));
		$phase .= "; again in $link->{'retry_s'} s" if (defined($link->{'retry_s'}));
		my @health = ();
		my $carries = 'no';
		foreach my $interface (grep { ($_->{'name'} // '') eq $name } &list($status->{'interfaces'})) {
			foreach my $path (&list($interface->{'paths'})) {
				my $reason = (ref($path->{'reason'}) eq 'HASH') ? $path->{'reason'}{'text'} // '' : '';
				$carries = 'yes' if ($path->{'carries'});
				push(@health, ($path->{'family'} // '') . ' ' . ($path->{'status'} // '') . " ($reason)");
			}
		}
		my $colour = (grep { / (online|disconnecting) / } @health) ? $Header::colourgreen : $Header::colourred;
		my @cells = ($name . ($link->{'primary'} ? ' (primary)' : ''), $link->{'method'}, $link->{'device'}, $phase, $carries);
		print "\t<tr>" . join('', map { '<td>' . &html($_) . '</td>' } @cells);
		print "<td style='color: $colour'>" . &html(join(', ', @health)) . "</td></tr>\n";
	}
	print "</table>\n";
}

sub buttons {
	my ($red) = @_;
	my $script = &html($ENV{'SCRIPT_NAME'});
	&Header::openbox('100%', 'left', 'Actions');
	print "<form method='post' action='$script'>\n";
	if (!$red->{'enabled'}) {
		print "<button type='submit' name='ACTION' value='enable'>Switch on</button>\n";
	} else {
		# Several REDs have no backups.
		unless ($red->{'several'}) {
			print "<button type='submit' name='ACTION' value='failover'>Failover</button>\n";
			print "<button type='submit' name='ACTION' value='failback'>Failback</button>\n";
			print "<button type='submit' name='ACTION' value='test'>Test the primary</button>\n";
		}
		print "<button type='submit' name='ACTION' value='disable'>Switch off</button>\n";
	}
	print "</form>\n";
	my @backups = map { $_->{'name'} // '' } grep { !$_->{'primary'} } &list($red->{'links'});
	if ($red->{'enabled'} && !$red->{'several'} && @backups) {
		print "<form method='post' action='$script'>\n<select name='PROFILE'>\n";
		print "<option value='" . &html($_) . "'>" . &html($_) . "</option>\n" foreach (@backups);
		print "</select>\n<button type='submit' name='ACTION' value='switch'>Switch to it</button>\n</form>\n";
	}
	&Header::closebox();
}
