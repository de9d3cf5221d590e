#!/usr/bin/perl
# Perl's memcached clients for ../matrix. usage: perl adapter.pl CLIENT PORT; ../README.md has what is read and answered.
# A client lacks what its table has no entry for.
use strict;
use warnings;

my ($client, $port) = @ARGV;
my $server = "127.0.0.1:$port";
my ($c, $unique);
my %operations;

# Both have these by the same names. Values are bytes.
sub alike {
    my %same = map { my $name = $_; $name => sub { $c->$name(@_) } } qw(add replace append prepend incr decr delete get touch);
    return (
        %same,
        set => sub { $c->set($_[0], $_[1], $_[2] || undef) },
        getmulti => sub { $c->get_multi(@_) },
        flush => sub { $c->flush_all },
    );
}

if ($client eq 'perl-cache-memcached') {
    require Cache::Memcached;
    $c = Cache::Memcached->new({servers => [$server]});
    %operations = alike();
    delete @operations{qw(append prepend touch)};
    $operations{append} = sub { $c->append(@_) } if $c->can('append');
    $operations{prepend} = sub { $c->prepend(@_) } if $c->can('prepend');
    $operations{stats} = sub { [keys %{$c->stats('misc')->{hosts}{$server}{misc}}] };
} elsif ($client eq 'perl-cache-memcached-fast') {
    require Cache::Memcached::Fast;
    $c = Cache::Memcached::Fast->new({servers => [$server], io_timeout => 10});
    %operations = (
        alike(),
        gets => sub { my $found = $c->gets(@_); $unique = $found ? $found->[0] : undef; $found ? $found->[1] : undef },
        cas => sub { $c->cas($_[0], $unique, $_[1]) },
        gat => sub { $c->gat($_[1], $_[0]) },
        version => sub { (values %{$c->server_versions})[0] },
    );
    # It says of each server whether it did it.
    $operations{flush} = sub { (values %{$c->flush_all})[0] };
} else {
    # Memcached::libmemcached, in the binary protocol if it is asked to.
    require Memcached::libmemcached;
    $c = Memcached::libmemcached->new;
    $c->memcached_behavior_set(Memcached::libmemcached::MEMCACHED_BEHAVIOR_BINARY_PROTOCOL(), 1) if $client =~ /binary/;
    $c->memcached_server_add('127.0.0.1', $port);
    my $said = sub {
        my ($result) = @_;
        return $result if $result;
        my $error = $c->errstr;
        die "$error\n" unless $error =~ /NOT FOUND|NOT STORED|DATA EXISTS|SUCCESS/i;
        return $result;
    };
    %operations = (
        set => sub { $said->($c->memcached_set($_[0], $_[1], $_[2])) },
        add => sub { $said->($c->memcached_add(@_)) },
        replace => sub { $said->($c->memcached_replace(@_)) },
        append => sub { $said->($c->memcached_append(@_)) },
        prepend => sub { $said->($c->memcached_prepend(@_)) },
        get => sub { my $value = $c->memcached_get($_[0]); defined $value ? $value : $said->($value) },
        getmulti => sub { my %found; $c->mget_into_hashref([@_], \%found); \%found },
        incr => sub { my $count = 0; $said->($c->memcached_increment($_[0], $_[1], $count)) ? $count : undef },
        decr => sub { my $count = 0; $said->($c->memcached_decrement($_[0], $_[1], $count)) ? $count : undef },
        delete => sub { $said->($c->memcached_delete($_[0])) },
        flush => sub { $said->($c->memcached_flush(0)) },
        version => sub { join '.', $c->memcached_version },
    );
    if ($client =~ /binary/) {
        $operations{incrinit} = sub {
            my $count = 0;
            $said->($c->memcached_increment_with_initial($_[0], $_[1], $_[2], 0, $count)) ? $count : undef;
        };
    }
}

sub words {
    my ($kind, @words) = @_;
    return join "\t", $kind, map { unpack 'H*', $_ } @words;
}

sub answer {
    my ($name, $result) = @_;
    return words('values', map { ($_, $result->{$_}) } sort keys %{$result || {}}) if $name eq 'getmulti';
    return words('names', sort @$result) if $name eq 'stats';
    return defined $result ? words('value', $result) : 'none' if $name =~ /^(get|gets|gat|version)$/;
    # A count of 0 may be said as '0 but true'.
    return defined $result && $result ne '' ? words('number', $result + 0) : 'none' if $name =~ /^(incr|decr|incrinit)$/;
    return $result ? 'yes' : 'no';
}

$| = 1;
$SIG{__WARN__} = sub { die @_ };
while (my $line = <STDIN>) {
    chomp $line;
    my ($name, @words) = split /\t/, $line, -1;
    @words = map { pack 'H*', $_ } @words;
    my $reply = 'lacks';
    if (my $operation = $operations{$name}) {
        $reply = eval { no warnings 'numeric'; answer($name, scalar $operation->(@words)) };
        $reply = words('error', $@) unless defined $reply;
    }
    print "$reply\n";
}
